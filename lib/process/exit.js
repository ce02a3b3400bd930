'use strict'

// The end of a process. A command that ends before the optimizing tier is done must still leave a warm cache: its
// unfinished modules go to a detached process (./finish.js), which the command does not wait for.
//
// Promise: never throws, never keeps the process, and waits only for what was fetched and compiled to be on disk. A worker's
// modules belong to the process, and are handed off when that ends: by the main thread if it has loaded this package,
// else by native code, which gets the command line from the worker. The same goes for a copy of this package that has a copy
// of `process`, whose handlers nobody calls: a file of jest's. No process is left where nothing would wait for it
// (./orphans.js). WASM_COMPILE_CACHE_FINISH=0 switches it off.

const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')

const { detachedEnvironment, startDetached } = require('./detached.js')
const events = require('../events/events.js')
const { adopt, areWaitedFor } = require('./orphans.js')
const { mayHandOff } = require('./permission.js')
const { environment } = require('./started.js')
const { isMainThread } = require('./thread.js')
const { watch } = require('./watch.js')

const FINISH = path.join(__dirname, 'finish.js')

let installed = false

/** Whoever waits for it has it done: ../cli/settle.js. */
const isLeft = environment.WASM_COMPILE_CACHE_FINISH === 'later'

const mayStart = () => mayHandOff() && areWaitedFor()
const mayFinish = () => environment.WASM_COMPILE_CACHE_FINISH !== '0' && (isLeft || mayStart())

/** The process that was started; undefined where none can be. */
function tryToSpawn(native, work) {
  try {
    // Where this process has its cache, by its environment or by cache.enable().
    return startDetached(FINISH, work, Object.fromEntries(native.cacheEnvironment()))
  } catch {
    return undefined
  }
}

function handOff(native) {
  if (!isMainThread || !mayFinish()) return
  const spooled = native.handOff()
  const lists = isLeft ? [] : spooled
  const unsent = mayStart() ? native.remoteUnsent() : []
  if (unsent.length > 0 && lists.length === 0) lists.push([])
  for (const [index, spools] of lists.entries()) {
    const pid = tryToSpawn(native, index === 0 ? [...spools, ...unsent] : spools)
    for (const spool of spools) {
      if (pid !== undefined) events.emit({ name: 'handedOff', spool, pid })
      // Nobody else would take it; the next run compiles again.
      else fs.rmSync(spool, { force: true })
    }
  }
}

/** Decides whether the main thread or native code hands off. */
function assign(native) {
  if (isMainThread && vm.runInThisContext('process') === process) {
    native.mainThreadHandsOff()
    adopt(native)
    return
  }
  if (!mayFinish()) return
  const given = Object.entries(detachedEnvironment()).filter(([, value]) => value !== undefined)
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
        () => watch(native),
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
