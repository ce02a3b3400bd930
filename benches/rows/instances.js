'use strict'

const path = require('node:path')
const { engines } = require('../columns.js')
const { assemble } = require('../modules.js')

const program = path.join(__dirname, '../programs/instances.js')

/** What an instance with a memory of its own costs while others are alive: the same, however many they are. */
module.exports = {
  name: 'instances',
  title: '1,000 instances',
  how: 'Instances of one module with a memory each, made and called once; all of them stay alive.',
  lines: {
    1000: '1,000 instances, with a memory each',
    2000: '1,000 more, beside 1,000',
    3000: '1,000 more, beside 2,000',
    4000: '1,000 more, beside 3,000',
  },
  columns: engines,
  args: async (directory) => [program, await assemble('instances', directory)],
  read: (output) => output,
}
