'use strict'

const path = require('node:path')
const { engines } = require('../columns.js')
const { assemble } = require('../modules.js')

const catches = path.join(__dirname, '../programs/catches.js')
const program = path.join(__dirname, '../programs/throws.js')

const KINDS = { number: 'a number', error: 'a new Error', trap: 'a trap' }

const DEPTHS = [0, 100, 500, 1000, 2000]

const lines = Object.entries(KINDS).flatMap(([kind, title]) =>
  DEPTHS.map((depth) => [`${kind}-${depth}`, `${title}, ${depth} calls deep`])
)

module.exports = [
  {
    name: 'throws',
    title: 'throw',
    how:
      'What an import throws, or a trap, until JavaScript has caught it, below so many calls of WebAssembly and JavaScript in ' +
      'turns; the best of seven passes of 100 after two to warm up.',
    unit: 'ns',
    lines: Object.fromEntries(lines),
    columns: engines,
    args: async (directory) => [program, await assemble('throws', directory)],
    read: (output) => output,
  },
  {
    name: 'catch',
    title: 'throw and catch in WebAssembly',
    how: 'One exception (in the older form), from 100,000 in a loop; the best of seven passes after two to warm up.',
    unit: 'ns',
    lines: { same: 'in one function', one: 'one frame up', ten: 'ten frames up' },
    columns: engines,
    args: async (directory) => [catches, await assemble('catches', directory)],
    read: (output) => output,
  },
  {
    name: 'nesting',
    title: 'calls in turns until the stack is full',
    how: 'Until the `RangeError` of the full stack was caught; the best of seven passes after two to warm up.',
    columns: engines,
    args: async (directory) => [program, await assemble('throws', directory), 'overflow'],
    read: (output) => output,
  },
]
