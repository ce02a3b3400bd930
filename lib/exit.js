'use strict'

// The end of a process. A command that is over before the optimizing tier must still leave a warm cache: its
// unfinished modules go to detached processes (./finish.js), one each, that nobody waits for.
//
// Promise: never throws, never waits, never keeps the process. Main thread only: a worker's modules are the
// process's, and are handed off when it ends. WASM_COMPILE_CACHE_FINISH=0 switches it off.

const path = require('node:path')
const { isMainThread } = require('node:worker_threads')

const events = require('./events.js')
const { NO_LIMIT } = require('./options.js')
const { mayHandOff } = require('./permission.js')

// Not for the finisher: what would load this package into it a second time, make it write files of its own, or
// overwrite its parent's.
const NOT_INHERITED = ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'NODE_DEBUG', 'NODE_CHANNEL_FD', 'WASM_COMPILE_CACHE_TRACE']

// As the program was started: esbuild's command, for one, empties process.env.
const started = { ...process.env }

let installed = false

function finisherEnvironment(native) {
  const env = { ...started, WASM_COMPILE_CACHE_FINISH: '0' }
  // Not deleted: where the name is missing, Node adds its own NODE_V8_COVERAGE.
  for (const name of NOT_INHERITED) env[name] = undefined
  // What counts for this process, by its environment or by cache.enable().
  const { directory, maxSize, maxEntrySize } = native.cacheConfiguration()
  if (directory !== null) env.WASM_COMPILE_CACHE = directory
  if (maxSize !== NO_LIMIT) env.WASM_COMPILE_CACHE_MAX_SIZE = `${maxSize}`
  if (maxEntrySize !== NO_LIMIT) env.WASM_COMPILE_CACHE_MAX_ENTRY_SIZE = `${maxEntrySize}`
  if (process.versions.electron) env.ELECTRON_RUN_AS_NODE = '1'
  return env
}

function spawnFinisher(native, spool) {
  const { spawn } = require('node:child_process')
  const child = spawn(process.execPath, [path.join(__dirname, 'finish.js'), spool], {
    // Not the caller's folder: it may be about to be removed.
    cwd: path.parse(process.execPath).root,
    detached: true,
    env: finisherEnvironment(native),
    stdio: 'ignore',
    windowsHide: true,
  })
  child.on('error', () => {})
  child.unref()
  return child.pid
}

function handOff(native) {
  if (!isMainThread || started.WASM_COMPILE_CACHE_FINISH === '0' || !mayHandOff()) return
  for (const spool of native.handOff()) {
    const pid = spawnFinisher(native, spool)
    if (pid !== undefined) events.emit({ name: 'handedOff', spool, pid })
  }
}

/** Registers the one handler of 'exit'; once per thread. */
function install(native = require('../binding.js')) {
  if (installed) return
  installed = true
  process.on('exit', () => {
    try {
      handOff(native)
      if (isMainThread) native.cacheRecordCounts()
    } catch {
      // The program's own result stands; the next run compiles again.
    }
    try {
      events.close()
    } catch {
      // Nobody is left to be told.
    }
  })
}

module.exports = { install }
