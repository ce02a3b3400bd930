'use strict'

// The process that ./exit.js leaves behind: finishes one spooled module at the lowest priority and ends.
//
//   node lib/finish.js <spool file>
//
// Promise: it ends. native.finish() blocks this thread, so a worker thread holds the clock, and after ten minutes
// ends the whole process the hard way, native threads included. It writes nothing to stdio.

const { isMainThread, Worker, workerData } = require('node:worker_threads')

const LIMIT = 10 * 60 * 1000 // ms

function watch() {
  setTimeout(() => {
    try {
      // A module that does not finish in time would not the next time either.
      require('node:fs').rmSync(workerData.spool, { force: true })
    } finally {
      process.kill(process.pid, 'SIGKILL')
    }
  }, LIMIT)
}

function finish(spool) {
  // The main thread's end must not wait for the watch.
  new Worker(__filename, { workerData: { spool }, stdin: false, stdout: true, stderr: true }).unref()
  try {
    const os = require('node:os')
    os.setPriority(os.constants.priority.PRIORITY_LOW)
  } catch {
    // Where priorities are not ours to set, it runs at the one it has.
  }
  try {
    const native = require('../binding.js')
    require('./options.js').configure(native)
    native.finish(spool)
  } catch {
    process.exit(1)
  }
  process.exit(0)
}

if (!isMainThread) watch()
else if (require.main === module && process.argv[2] !== undefined) finish(process.argv[2])
