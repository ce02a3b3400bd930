'use strict'
// esbuild-wasm's browser build, which runs Go on the calling thread: the instance is in this very
// process, and a swap finds its goroutines half way through a transform.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

run(
  async () => {
    globalThis.self = globalThis // all that the browser build misses in Node
    const esbuild = require('esbuild-wasm/lib/browser.js')
    const root = path.dirname(require.resolve('esbuild-wasm/package.json'))
    const wasmModule = await WebAssembly.compile(fs.readFileSync(path.join(root, 'esbuild.wasm')))
    await esbuild.initialize({ wasmModule, worker: false })
    const source = fs.readFileSync(path.join(root, 'lib/browser.js'), 'utf8')
    return async () => {
      const minified = await esbuild.transform(source, { minify: true, sourcemap: true, target: 'es2020' })
      const plain = await esbuild.transform(source, { format: 'esm', target: 'es6' })
      const css = await esbuild.transform('a{b{color:#ff0000;margin:0 0 0 0}}', { loader: 'css', minify: true, target: 'chrome80' })
      return [minified.code, minified.map, plain.code, css.code]
    }
  },
  () => process.exit() // Go's main never returns
)
