'use strict'

const { parsedAge, parsedSize } = require('./arguments.js')
const { open } = require('./open.js')
const { removalText } = require('./screen.js')

module.exports = {
  usage: 'prune',
  summary: 'remove what was not used for a long time',
  help: 'Least recently used first. Without an option, down to what the cache may hold.',
  options: (command) =>
    command
      .option('--max-size <size>', 'what the cache may hold afterwards, like 500M or 2G', parsedSize)
      .option('--max-age <age>', 'remove what was not used for longer than this, like 12h or 30d', parsedAge),

  run(_args, options) {
    const { maxSize, maxAge } = options
    const removed = open(options).prune({ maxSize, maxAge })
    return { json: removed, text: removalText(removed) }
  },
}
