'use strict'
// @rollup/wasm-node, whose parser and hashes are WebAssembly: bundles ava's command line and its
// worker, some fifty modules, in chunks with hashes in their names, and with source maps.

const path = require('node:path')
const { run } = require('./loop.js')

run(async () => {
  const { rollup } = require('@rollup/wasm-node')
  const { parseAst } = require('@rollup/wasm-node/parseAst')
  const root = path.join(path.dirname(require.resolve('ava')), '..')
  return async () => {
    const warnings = []
    const bundle = await rollup({
      input: { cli: path.join(root, 'lib/cli.js'), worker: path.join(root, 'lib/worker/base.js') },
      external: (id) => id.endsWith('.cjs') || !(id.startsWith('.') || path.isAbsolute(id)),
      onwarn: ({ code, message }) => warnings.push(`${code} ${message}`),
    })
    const outputs = []
    for (const options of [
      { format: 'es', sourcemap: true, entryFileNames: '[name]-[hash].js', hashCharacters: 'base36' },
      { format: 'system', compact: true, generatedCode: 'es2015' },
    ]) {
      const { output } = await bundle.generate(options)
      for (const file of output) outputs.push(file.fileName, file.code ?? file.source)
    }
    await bundle.close()
    outputs.push(warnings.join('\n'))
    outputs.push(
      JSON.stringify(parseAst('export const f = async (x) => { for await (const { y = 1e21, ...z } of x) yield_(`${y}`, z) }'))
    )
    try {
      parseAst('let let = ;')
    } catch (error) {
      outputs.push(`${error.code} ${error.message} ${error.pos}`)
    }
    return outputs
  }
})
