'use strict'

const { esbuild, within } = require('../modules.js')

module.exports = {
  name: 'esbuild-cli',
  title: 'esbuild-wasm CLI bundles its lib/main.js',
  modules: () => [esbuild()],
  args: () => [within('esbuild-wasm', 'bin/esbuild'), within('esbuild-wasm', 'lib/main.js'), '--bundle', '--platform=node'],
}
