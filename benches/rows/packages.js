'use strict'

const { readdirSync, statSync } = require('node:fs')
const path = require('node:path')
const { uncached } = require('../columns.js')

const PACKAGES = path.join(__dirname, '../../__test__/packages')

/** Not every package lets itself be resolved to its folder. */
const within = (name, ...parts) => path.join(__dirname, '../../node_modules', name, ...parts)

const how =
  'A fresh process that does once what the tests have the package do (`__test__/packages/`), from its start to its end. All columns ' +
  'give the same output.'

/** Modules of fewer bytes are not cached. */
const CACHED_FROM = 128 << 10

const wasmOf = (folder) =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.wasm'))
    .map((name) => path.join(folder, name))
    .filter((file) => statSync(file).size >= CACHED_FROM)

const row = (name, title, more) => ({
  name: `package-${name}`,
  title,
  how,
  env: { LOOPS: '1' },
  args: () => [path.join(PACKAGES, `${name}.js`)],
  ...more,
})

module.exports = [
  row('lightningcss', 'lightningcss, style sheets for old browsers', {
    modules: () => [within('lightningcss-wasm', 'lightningcss_node.wasm')],
  }),
  row('resvg', 'resvg, a picture in two sizes', { modules: () => [within('@resvg/resvg-wasm', 'index_bg.wasm')] }),
  row('tree-sitter', 'tree-sitter, three grammars', {
    modules: () => ['web-tree-sitter', 'tree-sitter-javascript', 'tree-sitter-python'].flatMap((name) => wasmOf(within(name, '.'))),
  }),
  row('rollup', 'rollup bundles fifty modules', { modules: () => wasmOf(within('@rollup/wasm-node', 'dist/wasm-node')) }),
  row('webp', 'webp, two pictures (SIMD)', {
    modules: () => ['enc', 'dec'].flatMap((folder) => wasmOf(within('@jsquash/webp', 'codec', folder))),
  }),
  row('yoga', 'yoga-layout, 0.1 MB', { columns: uncached }),
]
