'use strict'

const { formatSize } = require('../quantities.js')
const { open } = require('./open.js')

module.exports = {
  usage: 'clear',
  summary: 'remove everything that is cached',

  run(_args, options) {
    const removed = open(options).clear()
    return { json: removed, text: `${removed.files} files removed, ${formatSize(removed.bytes)}` }
  },
}
