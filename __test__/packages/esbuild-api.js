'use strict'
// esbuild-wasm through its Node API: lib/main.js starts one `node bin/esbuild --service` and talks
// to it, so the module lives in a child that inherits NODE_OPTIONS.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

let esbuild
run(
  async () => {
    // The service is started as plain `node`.
    process.env.PATH = path.dirname(process.execPath) + path.delimiter + process.env.PATH
    esbuild = require('esbuild-wasm')
    const root = path.dirname(require.resolve('esbuild-wasm/package.json'))
    const source = fs.readFileSync(path.join(root, 'lib/main.js'), 'utf8')
    return async () => {
      const minified = await esbuild.transform(source, { minify: true, sourcemap: true, target: 'es2020' })
      const bundle = await esbuild.build({
        absWorkingDir: root,
        entryPoints: ['lib/main.js'],
        bundle: true,
        platform: 'node',
        metafile: true,
        write: false,
        outfile: 'out.js',
      })
      const broken = await esbuild.transform('let x = ;', { logLevel: 'silent' }).catch((error) => error.message)
      return [
        minified.code,
        minified.map,
        ...bundle.outputFiles.map((file) => file.contents),
        JSON.stringify(bundle.metafile),
        broken,
      ]
    }
  },
  () => esbuild.stop()
)
