'use strict'

// The end of a process. A command that ends before the optimizing tier is done must still leave a warm cache: its
// unfinished modules go to a detached process (./finish.js), which the command does not wait for.
//
// Promise: never throws, never keeps the process, and waits only for what was fetched and compiled to be on disk. A worker's
// modules belong to the process, and are handed off when that ends: by the main thread if it has loaded this package,
// else by native code, which gets the command line from the worker. No process is left where nothing would wait for it
// (./orphans.js). WASM_COMPILE_CACHE_FINISH=0 switches it off.

const fs = require('node:fs')
const path = require('node:path')

const events = require('../events/events.js')
const { adopt, areWaitedFor } = require('./orphans.js')
const { mayHandOff } = require('./permission.js')
const { environment } = require('./started.js')
const { isMainThread } = require('./thread.js')

// Not for the finisher: what would load this package into it a second time, make it write files of its own, or
// overwrite its parent's.
const NOT_INHERITED = ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'NODE_DEBUG', 'NODE_CHANNEL_FD', 'WASM_COMPILE_CACHE_TRACE']

const FINISH = path.join(__dirname, 'finish.js')

let installed = false

const mayFinish = () => environment.WASM_COMPILE_CACHE_FINISH !== '0' && mayHandOff() && areWaitedFor()

function finisherEnvironment() {
  const env = { ...environment, WASM_COMPILE_CACHE_FINISH: '0' }
  // Not deleted: where the name is missing, Node adds its own NODE_V8_COVERAGE.
  for (const name of NOT_INHERITED) env[name] = undefined
  if (process.versions.electron) env.ELECTRON_RUN_AS_NODE = '1'
  return env
}

function spawnFinisher(native, spools) {
  const { spawn } = require('node:child_process')
  const child = spawn(process.execPath, [FINISH, ...spools], {
    // Not the caller's folder: it may be about to be removed.
    cwd: path.parse(process.execPath).root,
    detached: true,
    // Where this process has its cache, by its environment or by cache.enable().
    env: Object.assign(finisherEnvironment(), Object.fromEntries(native.cacheEnvironment())),
    stdio: 'ignore',
    windowsHide: true,
  })
  child.on('error', () => {})
  child.unref()
  return child.pid
}

/** The process that was started; undefined where none can be. */
function tryToSpawn(native, spools) {
  try {
    return spawnFinisher(native, spools)
  } catch {
    return undefined
  }
}

function handOff(native) {
  if (!isMainThread || !mayFinish()) return
  for (const spools of native.handOff()) {
    const pid = tryToSpawn(native, spools)
    for (const spool of spools) {
      if (pid !== undefined) events.emit({ name: 'handedOff', spool, pid })
      // Nobody else would take it; the next run compiles again.
      else fs.rmSync(spool, { force: true })
    }
  }
}

/** Decides whether the main thread or native code hands off. */
function assign(native) {
  if (isMainThread) {
    native.mainThreadHandsOff()
    adopt(native)
    return
  }
  if (!mayFinish()) return
  const given = Object.entries(finisherEnvironment()).filter(([, value]) => value !== undefined)
  native.handOffAtExit(
    [process.execPath, FINISH],
    given.map(([name, value]) => `${name}=${value}`)
  )
}

/** Registers the one handler of 'exit'; once per thread. */
function install(native = require('./addon.js')) {
  if (installed) return
  installed = true
  assign(native)
  process.on('exit', () => {
    const last = [() => handOff(native)]
    if (isMainThread) {
      last.push(
        () => native.resourcesKept(),
        () => native.cacheRecordCounts()
      )
    }
    for (const step of [...last, () => events.close()]) {
      try {
        step()
      } catch {
        // The program's own result stands, and nobody is left to report to; the next run compiles again.
      }
    }
  })
}

module.exports = { install }
