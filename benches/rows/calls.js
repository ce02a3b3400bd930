'use strict'

const path = require('node:path')
const { engines } = require('../columns.js')
const { assemble } = require('../modules.js')

const program = path.join(__dirname, '../programs/calls.js')

module.exports = {
  name: 'calls',
  title: 'call',
  how: 'One call, from 500,000 in a loop; the best of seven passes after two to warm up, in optimised code.',
  unit: 'ns',
  lines: {
    into: 'JS → wasm, two i32',
    out: 'wasm → JS, two i32',
    invoke: 'wasm → JS → wasm (invoke_iii)',
    added: 'wasm → table → JS (addFunction)',
    empty: 'empty Node-API call',
  },
  columns: engines,
  args: async (directory) => [program, await assemble('calls', directory), await assemble('added', directory)],
  read: (output) => output,
  notes(results) {
    const median = (line) => results.find((row) => row.name === `calls-${line}`)?.columns.optimizing?.median
    const empty = median('empty')
    if (!empty) return []
    return ['into', 'out'].map(
      (line) => `${module.exports.lines[line]}: ${(median(line) / empty).toFixed(1)} × an empty Node-API call`
    )
  },
}
