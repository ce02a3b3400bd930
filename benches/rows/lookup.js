'use strict'

const path = require('node:path')
const modules = require('../modules.js')

/** What it costs to find an artifact of 52 MB, for a file that was seen before. */
module.exports = [
  {
    name: 'lookup',
    title: 'lookup',
    how: 'As "load swc, from a file". The second line is what the hot load takes beside mapping the artifact of 52 MB.',
    lines: {
      load: 'load swc from a file that was seen before',
      lookup: 'of that: stat, record, key, lookup, seal',
    },
    modules: () => [modules.swc()],
    args: () => [path.join(__dirname, '../programs/lookup.js'), modules.swc()],
    read: ({ load, lookup }) => ({ load, lookup }),
  },
]
