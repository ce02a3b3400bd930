'use strict'

const path = require('node:path')
const { uncached } = require('../columns.js')

const program = (name) => path.join(__dirname, '../programs', name)

/** What a process pays that does nothing with WebAssembly, and what for the first module. */
module.exports = [
  { name: 'start-empty', title: 'an empty program', columns: uncached, args: () => [program('empty.js')] },
  {
    name: 'start-require',
    title: 'an empty program that requires this package',
    columns: [uncached[0], { key: 'required', label: 'ours, required', env: { BENCH_REQUIRE: '1' } }],
    args: () => [program('empty.js')],
  },
  { name: 'start-first-use', title: 'a program of one module of 1 kB', columns: uncached, args: () => [program('first-use.js')] },
]
