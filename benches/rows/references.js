'use strict'

const path = require('node:path')
const { engines } = require('../columns.js')
const { assemble } = require('../modules.js')

const program = path.join(__dirname, '../programs/references.js')

module.exports = {
  name: 'references',
  title: 'externref',
  how: 'One crossing of a new object, from 200,000 in a loop; the best of seven passes after two to warm up.',
  unit: 'ns',
  lines: {
    argument: 'argument',
    result: 'argument and result',
    taken: 'argument of an import',
    made: 'result of an import',
    set: 'Table.set',
    get: 'Table.get',
    global: 'Global.value',
  },
  columns: engines,
  args: async (directory) => [program, await assemble('references', directory)],
  read: (output) => output,
}
