'use strict'

// The process that ./exit.js leaves behind: finishes spooled modules, one after the other, at the lowest priority and ends.
//
//   node dist/finish.js <spool file>...
//
// Promise: it ends. native.finish() blocks this thread, so a worker thread measures the time. A module that takes more
// than ten minutes ends the whole process the hard way, native threads included; those behind it go to another one. It
// writes nothing to stdio.

const { isMainThread, parentPort, Worker } = require('node:worker_threads')

const LIMIT = 10 * 60 * 1000 // ms

/** @param {string[]} spools the first takes too long */
function giveUp([spool, ...others]) {
  try {
    // A module that does not finish in time would not the next time either.
    require('node:fs').rmSync(spool, { force: true })
    if (others.length === 0) return
    const { spawn } = require('node:child_process')
    spawn(process.execPath, [__filename, ...others], { detached: true, stdio: 'ignore', windowsHide: true })
  } finally {
    process.kill(process.pid, 'SIGKILL')
  }
}

function watch() {
  let timer
  parentPort.on('message', (spools) => {
    clearTimeout(timer)
    timer = setTimeout(giveUp, LIMIT, spools)
  })
}

function finish(spools) {
  const watcher = new Worker(__filename, { stdin: false, stdout: true, stderr: true })
  // The main thread's end must not wait for the watch.
  watcher.unref()
  watcher.postMessage(spools)
  try {
    const os = require('node:os')
    os.setPriority(os.constants.priority.PRIORITY_LOW)
  } catch {
    // Where priorities are not ours to set, it runs at the one it has.
  }
  try {
    const native = require('./addon.js')
    require('../cache/environment.js').configure(native)
    for (const at of spools.keys()) {
      watcher.postMessage(spools.slice(at))
      native.finish(spools[at])
    }
    native.cacheRecordCounts()
  } catch {
    process.exit(1)
  }
  process.exit(0)
}

if (!isMainThread) watch()
else finish(process.argv.slice(2))
