'use strict'

const path = require('node:path')
const modules = require('../modules.js')

/** What finding an artifact costs on top of mapping it, for a file that was seen before: stat, record, key, seal, event. */
module.exports = [
  {
    name: 'lookup',
    title: 'lookup',
    lines: {
      load: 'load swc from a file that was seen before',
      beyond: 'of that, beyond mapping the artifact',
    },
    modules: () => [modules.swc()],
    args: () => [path.join(__dirname, '../programs/lookup.js'), modules.swc()],
    read: ({ load, beyond }) => ({ load, beyond }),
  },
]
