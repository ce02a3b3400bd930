'use strict'

// Modules of which nothing is known yet, and the process that finds it out (../process/judge.js): left at once, in the page
// cache, taken up when this process ends, or after some seconds.
//
// Promise: never throws. It costs a copy of the module into a file, once, and the start of a process at the end.

const fs = require('node:fs')

const { locate, replace, seenBudgets, seenModule, seenRun } = require('./folder.js')
const { available, shortage } = require('./memory.js')
const { littleIn, runOf } = require('./run.js')
const { readCurrent, withoutMore, write } = require('./verdicts.js')
const host = require('../code/host.js')
const started = require('../process/started.js')

const SOON = 5000 // ms: no command any more
const RETRY = 60 * 1000 // ms: then nobody takes up what was left

/** What the process that finds out needs at least, and for each byte of a module (docs/development/decisions.md). */
const BASE = 80 * 1024 * 1024
const FACTOR = 36

/** Whoever says `now` wants to know. */
const isWanted = started.environment.WASM_COMPILE_CACHE_FINISH === 'now'

const estimate = (size) => BASE + FACTOR * size

/** Name -> what is said of the module, in this process, and how much memory was free then. */
const left = new Map()

/** Names of modules that this thread has left: once is enough. */
const everLeft = new Set()

/** So long, in ms, a process that was started has not looked yet for what there is. */
const STARTING = 1000
let lastStart = -Infinity

let timer

const mayLeave = ({ cache }) => Math.min(locate().access, cache) === 2 && started.environment.WASM_COMPILE_CACHE_FINISH !== '0'

/** When the file was written, in ms; undefined where there is none. */
const writtenAt = (file) => fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs

/**
 * Leaves a module.
 *
 * @param {string} name
 * @param {(file: string) => void} put writes it
 * @param {object} facts {size, source, partition, names, isBuiltin} `names`: under which it is to be known; `isBuiltin`: by V8's
 *   code alone
 * @param {{cache: number, finish: boolean}} options
 */
function leave(name, put, facts, options) {
  if (everLeft.has(name) || !options.finish || !mayLeave(options)) return
  try {
    const file = seenModule(name)
    const written = writtenAt(file)
    // Somebody else has left it, and it is about to be taken up.
    if (written !== undefined && Date.now() - written < RETRY) return
    // Where there is no room, nobody would get to its end.
    const room = available()
    if (isTooLarge(name, facts, room)) return
    if (written === undefined) put(file)
    everLeft.add(name)
    left.set(name, { facts, room })
    // Whoever left it was killed, and so may this process be. A worker thread is not told of the end of the process, and may
    // never come back to its event loop; what V8 has of a module that is known is there at the end only.
    if (written === undefined && (isMainThread() || readCurrent(name) !== undefined)) wait()
    else {
      fs.utimesSync(file, new Date(), new Date())
      takeUp({ isEarly: true })
    }
  } catch {
    // The disk is full, or the folder is not ours to write to: it runs as it does without us.
  }
}

/**
 * Whether there is no room for compiling a module; then that is known of it.
 *
 * @param {string} name
 * @param {object} facts
 * @param {number} room
 * @param {number} [taken] what the program takes of it before the module is compiled
 */
function isTooLarge(name, facts, room, taken = 0) {
  const needed = estimate(facts.size)
  if (needed <= room - taken) return false
  say(name, facts, { ...shortage(needed, room - taken), needed: needed + taken })
  return true
}

/**
 * Bytes that the program still has.
 *
 * @param {{name: string, isBuiltin: boolean}} choice as ./verdicts.js gives it
 * @param {Uint8Array} bytes
 * @param {{source: string, partition: string}} about
 * @param {{cache: number, finish: boolean}} options
 */
function leaveBytes({ name, isBuiltin }, bytes, { source, partition }, options) {
  leave(name, (file) => replace(file, bytes), { size: bytes.length, source, partition, names: [name], isBuiltin }, options)
}

/** The module that was made of what was left: V8 knows which of its functions are called. */
function note(name, module) {
  made.set(name, new WeakRef(module))
}

const made = new Map()

/** What V8 knows of a module's functions; undefined where it has optimised none. */
function budgetsOf(name) {
  const module = made.get(name)?.deref()
  const shim = module === undefined ? undefined : host.load()
  return shim === undefined ? undefined : require('../code/calls.js').budgetsOf(shim, module)
}

const isMainThread = () => require('node:worker_threads').isMainThread

function wait() {
  if (timer !== undefined) return
  timer = setTimeout(takeUp, SOON, {}).unref()
  process.on('exit', atExit)
}

const atExit = () => takeUp({ isLate: true })

/**
 * Says what is known of this run, if it is one already, and starts the process. Where V8 compiled little there is nothing to
 * find out: most commands are short.
 */
function takeUp({ isEarly = false, isLate = false }) {
  clearTimeout(timer)
  try {
    const run = isEarly ? undefined : runOf()
    const little = run === undefined || isWanted ? undefined : littleIn(run)
    // It may become more.
    if (little !== undefined && !isLate) return
    if (little === undefined) hand(run, isLate)
    else forgo(little, run)
  } catch {
    withdraw()
  }
  process.removeListener('exit', atExit)
  timer = undefined
  left.clear()
}

/** Nobody will come for it: the next run leaves it again. */
function withdraw() {
  for (const name of left.keys()) {
    try {
      fs.rmSync(seenModule(name), { force: true })
    } catch {
      // It is taken up when it is old.
    }
  }
}

/** The program may have taken the room meanwhile. */
function dropTooLarge() {
  for (const [name, { facts, room }] of left) {
    if (!isTooLarge(name, facts, room, Math.max(0, room - available()))) continue
    fs.rmSync(seenModule(name), { force: true })
    left.delete(name)
  }
}

function forgo(little, run) {
  for (const [name, { facts }] of left) {
    say(name, facts, little, run)
    fs.rmSync(seenModule(name), { force: true })
  }
}

/** Writes what has been found out without another process. */
function say(name, { names, isBuiltin: _isBuiltin, ...facts }, verdict, run = undefined) {
  const known = readCurrent(name)
  // It is known, and V8's code was to be found out.
  if (known === undefined) write(names, { ...facts, run, ...verdict })
  else {
    const tag = host.tag()
    write(names, { ...known, codes: { ...known.codes, [tag]: withoutMore(known.codes?.[tag], verdict) } })
  }
}

/** What has to be repeated where V8's code is made: flags of V8 shape it, and are among those of Node. */
function v8() {
  const { environment } = started
  const given = [...(environment.NODE_OPTIONS ?? '').split(' '), ...process.execArgv]
  return { tag: host.isThere() ? host.tag() : undefined, flags: given.filter((flag) => flag.startsWith('--')) }
}

/** @param {boolean} isLate whether the memory of this process is about to be free */
function hand(run, isLate) {
  const { mayJudge, startJudge } = require('../process/judging.js')
  if (!mayJudge()) {
    withdraw()
    return
  }
  if (!isLate) dropTooLarge()
  if (left.size === 0) return
  for (const [name, { facts }] of left) {
    const budgets = budgetsOf(name)
    if (budgets !== undefined) replace(seenBudgets(name), budgets)
    replace(seenRun(name), JSON.stringify({ ...facts, run, isWanted, ...v8() }))
  }
  const now = performance.now()
  if (!isWanted && now - lastStart < STARTING) return
  lastStart = now
  startJudge()
}

module.exports = { budgetsOf, estimate, leave, leaveBytes, note }
