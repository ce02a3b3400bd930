'use strict'

require('./scripts/bundle.js').build()

module.exports = {
  files: ['__test__/**/*.test.js'],
  // A process a file, so that a crash is one file's, and each has a cache directory to itself.
  workerThreads: false,
  require: ['./__test__/support/temp-cache.js'],
  concurrency: 2,
  // Without a test ending: large modules are compiled in here, on machines with two cores.
  timeout: '5m',
}
