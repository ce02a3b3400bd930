'use strict'
// @swc/wasm: TypeScript (hash-wasm's own sources) and a large JavaScript file, down to ES5.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

/** Spans count on from one file to the next, so they differ from round to round. */
const withoutSpans = (key, value) => (key === 'span' ? undefined : value)

run(async () => {
  const swc = require('@swc/wasm')
  const folder = path.join(path.dirname(require.resolve('hash-wasm/package.json')), 'lib')
  const typescript = fs
    .readdirSync(folder)
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .sort()
  const script = fs.readFileSync(require.resolve('esbuild-wasm/lib/main.js'), 'utf8')
  return async () => {
    const outputs = []
    for (const filename of typescript) {
      const { code, map } = swc.transformSync(fs.readFileSync(path.join(folder, filename), 'utf8'), {
        filename,
        sourceMaps: true,
        swcrc: false,
        jsc: { parser: { syntax: 'typescript' }, target: 'es5' },
      })
      outputs.push(code, map)
    }
    const { code } = swc.transformSync(script, {
      swcrc: false,
      minify: true,
      jsc: { target: 'es5', minify: { compress: true, mangle: true } },
    })
    outputs.push(code, JSON.stringify(swc.parseSync('export const a = <T,>(x: T) => x', { syntax: 'typescript' }), withoutSpans))
    try {
      swc.transformSync('let x = ;', { swcrc: false })
    } catch (error) {
      outputs.push(String(error))
    }
    return outputs
  }
})
