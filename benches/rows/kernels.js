'use strict'

const path = require('node:path')
const { tiers } = require('../columns.js')
const { assemble } = require('../modules.js')

const program = path.join(__dirname, '../programs/kernels.js')

module.exports = {
  name: 'kernels',
  title: 'kernel',
  how: 'A function of `benches/kernels.wat`, the best of five runs after one to warm up, in one tier each; its result is checked.',
  lines: {
    matmul: 'matmul, f64, 320 × 320',
    sha256: 'sha-256, 4 MB',
    sort: 'sort, 300,000 i32, compare through a table',
    trees: 'trees, depth 17',
    sieve: 'sieve, 8,000,000',
    fib: 'fib, 34',
  },
  columns: tiers,
  args: async (directory) => [program, await assemble('kernels', directory)],
  read: (output) => output,
}
