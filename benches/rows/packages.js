'use strict'

const { readdirSync, statSync } = require('node:fs')
const path = require('node:path')
const { uncached } = require('../columns.js')

const PACKAGES = path.join(__dirname, '../../__test__/packages')
const LARGE = path.join(__dirname, '../large')

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

/** One of `large/`, which are installed for it. */
const large = (name, title, module) => ({
  name: `package-${name}`,
  title,
  how: 'A fresh process of `benches/large/`, from its start to its end. All columns give the same output.',
  large: true,
  args: () => [path.join(LARGE, `${name}.js`)],
  modules: () => [path.join(LARGE, 'node_modules', module)],
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
  row('mupdf', 'mupdf, pages and broken files', { modules: () => [within('mupdf', 'dist/mupdf-wasm.wasm')] }),
  row('pyodide', 'pyodide, Python', { modules: () => [within('pyodide', 'pyodide.asm.wasm')] }),
  large('automerge', 'automerge, two documents of 1,000 changes', '@automerge/automerge/dist/cjs/automerge_wasm_bg.wasm'),
  large('duckdb', 'duckdb, a query over 200,000 rows', '@duckdb/duckdb-wasm/dist/duckdb-eh.wasm'),
  large('web-ifc', 'web-ifc, a building', 'web-ifc/web-ifc-node.wasm'),
  large('php', 'php 8.3, a script', '@php-wasm/node-8-3/asyncify/8_3_33/php_8_3.wasm'),
]
