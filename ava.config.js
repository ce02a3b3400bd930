'use strict'

require('./scripts/bundle.js').build()

module.exports = {
  files: ['__test__/**/*.test.js'],
  // A process a file, so that a crash is one file's, and each has a cache directory to itself.
  workerThreads: false,
  require: ['./__test__/support/temp-cache.js'],
  // One more than a small machine has cores: much of what runs waits for other processes.
  concurrency: 3,
  // Without a test ending: large modules are compiled in here, on machines with two cores; or on emulated processors.
  timeout: process.env.TEST_TIMEOUT ?? '5m',
}
