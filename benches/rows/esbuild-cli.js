'use strict'

const { esbuild, within } = require('../modules.js')

module.exports = {
  name: 'esbuild-cli',
  title: 'esbuild-wasm CLI bundles its lib/main.js',
  how: 'A fresh process of the command, from its start to its end. All columns give the same output.',
  modules: () => [esbuild()],
  args: () => [within('esbuild-wasm', 'bin/esbuild'), within('esbuild-wasm', 'lib/main.js'), '--bundle', '--platform=node'],
}
