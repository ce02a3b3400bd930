'use strict'

const { open } = require('./open.js')
const { removalText } = require('./screen.js')

module.exports = {
  usage: 'clear',
  summary: 'remove everything that is cached',

  run(_args, options) {
    const removed = open(options).clear()
    return { json: removed, text: removalText(removed) }
  },
}
