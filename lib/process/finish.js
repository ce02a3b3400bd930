'use strict'

// The process that ./exit.js leaves behind: finishes spooled modules, one after the other, at the lowest priority and ends.
//
//   node dist/finish.js <spool file | key>...
//
// Of a key, the artifact is sent to the remote cache: the process that stored it had no time to.
//
// Promise: it ends. native.finish() blocks this thread, so a worker thread measures the time. A module that takes more
// than ten minutes ends the whole process the hard way, native threads included; those behind it go to another one. It
// writes nothing to stdio.

const { isMainThread, parentPort, Worker } = require('node:worker_threads')

const { environment } = require('./started.js')

const LIMIT = 10 * 60 * 1000 // ms

const KEY = /^[0-9a-f]{64}$/

/** @param {string[]} work the first takes too long */
function giveUp([first, ...others]) {
  try {
    // A module that does not finish in time would not the next time either.
    if (!KEY.test(first)) require('node:fs').rmSync(first, { force: true })
    if (others.length === 0) return
    const { spawn } = require('node:child_process')
    spawn(process.execPath, [__filename, ...others], { detached: true, stdio: 'ignore' })
  } finally {
    process.kill(process.pid, 'SIGKILL')
  }
}

function watch() {
  let timer
  parentPort.on('message', (work) => {
    clearTimeout(timer)
    timer = setTimeout(giveUp, LIMIT, work)
  })
}

function finish(work) {
  const watcher = new Worker(__filename, { stdin: false, stdout: true, stderr: true })
  // The main thread's end must not wait for the watch.
  watcher.unref()
  watcher.postMessage(work)
  try {
    const os = require('node:os')
    os.setPriority(os.constants.priority.PRIORITY_LOW)
  } catch {
    // Where priorities are not ours to set, it runs at the one it has.
  }
  try {
    const native = require('./addon.js')
    require('../cache/environment.js').configure(native)
    // This thread has no time to start it later.
    if (environment.WASM_COMPILE_CACHE_REMOTE) require('../remote/start.js').starter()?.()
    for (const at of work.keys()) {
      watcher.postMessage(work.slice(at))
      if (KEY.test(work[at])) native.remoteSend(work[at])
      else native.finish(work[at])
    }
    native.remoteFlush(() => {
      native.cacheRecordCounts()
      process.exit(0)
    })
  } catch {
    process.exit(1)
  }
}

if (!isMainThread) watch()
else finish(process.argv.slice(2))
