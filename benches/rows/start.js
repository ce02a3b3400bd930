'use strict'

const path = require('node:path')
const { uncached } = require('../columns.js')

/** As `register` is without a word of the user's. */
const columns = uncached.map((column) => (column.ours ? { ...column, env: { WASM_COMPILE_CACHE_ENGINE: 'auto' } } : column))

const program = (name) => path.join(__dirname, '../programs', name)

/** What a process pays that does nothing with WebAssembly, and what for the first module. */
module.exports = [
  { name: 'start-empty', title: 'an empty program', columns, args: () => [program('empty.js')] },
  {
    name: 'start-require',
    title: 'an empty program that requires this package',
    columns: [uncached[0], { key: 'required', label: 'ours, required', env: { BENCH_REQUIRE: '1' } }],
    args: () => [program('empty.js')],
  },
  { name: 'start-first-use', title: 'a program of one module of 1 kB', columns, args: () => [program('first-use.js')] },
]
