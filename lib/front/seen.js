'use strict'

// Modules of which nothing is known yet, and the process that finds it out (../process/judge.js): left at once, in the page
// cache, taken up when this process ends, or after some seconds.
//
// Promise: never throws. It costs a copy of the module into a file, once, and the start of a process at the end.

const fs = require('node:fs')

const { locate, replace, seenBudgets, seenModule, seenRun } = require('./folder.js')
const { available } = require('./memory.js')
const { littleIn, runOf } = require('./run.js')
const { readCurrent, write } = require('./verdicts.js')
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

/** Name -> what is said of the module, in this process. */
const left = new Map()

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
  if (left.has(name) || !options.finish || !mayLeave(options)) return
  try {
    const file = seenModule(name)
    const written = writtenAt(file)
    // Somebody else has left it, and it is about to be taken up.
    if (written !== undefined && Date.now() - written < RETRY) return
    // Where there is no room, nobody would get to its end.
    if (available() < estimate(facts.size)) return
    if (written === undefined) put(file)
    left.set(name, facts)
    // Whoever left it was killed, and so may this process be.
    if (written === undefined) wait()
    else {
      fs.utimesSync(file, new Date(), new Date())
      takeUp({ isEarly: true })
    }
  } catch {
    // The disk is full, or the folder is not ours to write to: it runs as it does without us.
  }
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
    if (little === undefined) hand(run)
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

function forgo(little, run) {
  for (const [name, { names, isBuiltin: _isBuiltin, ...facts }] of left) {
    const known = readCurrent(name)
    // It is known, and V8's code was to be found out.
    if (known === undefined) write(names, { ...facts, run, ...little })
    else {
      const tag = host.tag()
      const code = { ...(known.codes?.[tag] ?? { reason: little.reason }), isPartial: false }
      write(names, { ...known, codes: { ...known.codes, [tag]: code } })
    }
    fs.rmSync(seenModule(name), { force: true })
  }
}

/** What has to be repeated where V8's code is made: flags of V8 shape it, and are among those of Node. */
function v8() {
  const { environment } = started
  const given = [...(environment.NODE_OPTIONS ?? '').split(' '), ...process.execArgv]
  return { tag: host.isThere() ? host.tag() : undefined, flags: given.filter((flag) => flag.startsWith('--')) }
}

function hand(run) {
  const { mayJudge, startJudge } = require('../process/judging.js')
  if (!mayJudge()) {
    withdraw()
    return
  }
  for (const [name, facts] of left) {
    const budgets = budgetsOf(name)
    if (budgets !== undefined) replace(seenBudgets(name), budgets)
    replace(seenRun(name), JSON.stringify({ ...facts, run, isWanted, ...v8() }))
  }
  startJudge()
}

module.exports = { budgetsOf, estimate, leave, leaveBytes, note }
