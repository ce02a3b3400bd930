'use strict'

// Whether this is the main thread. node:worker_threads says so, but takes longer to load than all of this package; where
// nothing of it is there yet, this is no worker: a worker's ports are.

const hasWorkers = process.moduleLoadList?.includes('NativeModule internal/worker/io') ?? true

const isMainThread = !hasWorkers || require('node:worker_threads').isMainThread

module.exports = { isMainThread }
