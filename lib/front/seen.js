'use strict'

// Modules of which nothing is known yet, and the process that finds it out (../process/judge.js): left and taken up when this
// process ends, or after some seconds.
//
// V8 has the bytes for as long as it has the module, and a file has them that it was read from. Where the end of this process
// will be heard of, only a word is left at once, by which the next one sees that this one was killed; else the bytes are
// (`put`).
//
// Promise: never throws. It costs the start of a process at the end, which writes the bytes itself, or copies the file.

const fs = require('node:fs')

const { leftAt, mayLeave, replace, seenBudgets, seenModule, seenRun } = require('./folder.js')
const { available, shortage } = require('./memory.js')
const { fileOf, foldersOfCallers } = require('./nearby.js')
const { littleIn, runOf } = require('./run.js')
const { readCurrent, settled, withoutMore, write } = require('./verdicts.js')
const host = require('../code/host.js')
const started = require('../process/started.js')
const { isMainThread } = require('../process/thread.js')

const SOON = 5000 // ms: no command any more

/** What the process that finds out needs at least, and for each byte of a module (docs/development/decisions.md). */
const BASE = 80 * 1024 * 1024
const FACTOR = 36

const { WASM_COMPILE_CACHE_FINISH } = started.environment

/** Whoever waits for it (../cli/settle.js) has it done. */
const isWaitedFor = WASM_COMPILE_CACHE_FINISH === 'later'

/** So does who says `now`, and both want to know. */
const isWanted = isWaitedFor || WASM_COMPILE_CACHE_FINISH === 'now'

const estimate = (size) => BASE + FACTOR * size

/**
 * Name -> {facts, room, isKept, module, folders, content}: what is said of the module, in this process; how much memory was free
 * then; whether V8 has the bytes, and by which module; where a file may have them; and once they are to be written, the bytes or
 * {file}, whose bytes they are.
 */
const left = new Map()

/** Names of modules that this thread has left: once is enough. */
const everLeft = new Set()

/** So long, in s, a process that was started has not looked yet for what there is. */
const STARTING = 1
let lastStart = -Infinity

let timer

/**
 * Leaves a module.
 *
 * @param {string} name
 * @param {(file: string) => void} put writes it
 * @param {object} facts {size, source, partition, standard, names, isBuiltin, isSuspending} `names`: under which it is to be known;
 *   `isBuiltin`: by V8's code alone; `isSuspending`: because the program suspends stacks
 * @param {{cache: number, finish: boolean}} options
 * @param {boolean} [isKept] whether {@link note} will be called, with a module of which V8 has the bytes
 */
function leave(name, put, facts, options, isKept = false) {
  if (everLeft.has(name) || !mayLeave(options)) return
  try {
    const [file, word] = [seenModule(name), seenRun(name)]
    const { bytes, written, isRecent } = leftAt(name)
    // Somebody else has left it.
    if (isRecent) return
    // Where there is no room, nobody would get to its end.
    const room = available()
    if (isTooLarge(name, facts, room)) return
    const mayWait = written === undefined && isMainThread && isKept && host.isThere()
    if (mayWait) replace(word, JSON.stringify(facts))
    else if (bytes === undefined) put(file)
    everLeft.add(name)
    left.set(name, { facts, room, isKept: mayWait, module: undefined, folders: mayWait ? foldersOfCallers() : [] })
    // Whoever left it was killed, and so may this process be. A worker thread is not told of the end of the process, and may
    // never come back to its event loop; what V8 has of a module that is known is there at the end only.
    if (written === undefined && (isMainThread || readCurrent(name) !== undefined)) wait()
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
 * @param {{name: string, isBuiltin: boolean, standard: string, isSuspending: boolean}} choice as ./verdicts.js gives it
 * @param {Uint8Array} bytes
 * @param {{source: string, partition: string}} about
 * @param {{cache: number, finish: boolean}} options
 * @param {boolean} isKept
 */
function leaveBytes({ name, isBuiltin, standard, isSuspending }, bytes, { source, partition }, options, isKept) {
  const facts = { size: bytes.length, source, partition, standard, names: [name], isBuiltin, isSuspending }
  leave(name, (file) => replace(file, bytes), facts, options, isKept)
}

/** The module that was made of what was left: V8 knows which of its functions are called, and may have the only copy of it. */
function note(name, module) {
  const entry = left.get(name)
  if (entry?.isKept) entry.module = module
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
    if (little !== undefined && !isLate) {
      for (const entry of left.values()) entry.module = undefined
      return
    }
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
      remove(name)
    } catch {
      // It is taken up when it is old.
    }
  }
}

/** Also the word. */
function remove(name) {
  fs.rmSync(seenModule(name), { force: true })
  fs.rmSync(seenRun(name), { force: true })
}

/** The program may have taken the room meanwhile. */
function dropTooLarge() {
  for (const [name, { facts, room }] of left) {
    if (!isTooLarge(name, facts, room, Math.max(0, room - available()))) continue
    remove(name)
    left.delete(name)
  }
}

function forgo(little, run) {
  for (const [name, { facts }] of left) {
    say(name, facts, little, run)
    remove(name)
  }
}

/** Writes what has been found out without another process. */
function say(name, { names, isBuiltin: _isBuiltin, isSuspending: _isSuspending, ...facts }, verdict, run = undefined) {
  const known = readCurrent(name)
  // It is known, and V8's code was to be found out.
  if (known === undefined) write(names, { ...facts, run, ...verdict })
  else {
    const tag = host.tag()
    const codes = { ...known.codes, [tag]: withoutMore(known.codes?.[tag], verdict) }
    write(names, settled({ ...known, codes }, tag))
  }
}

/** What has to be repeated where V8's code is made: flags of V8 shape it, and are among those of Node. */
function v8() {
  const { environment } = started
  const given = [...(environment.NODE_OPTIONS ?? '').split(' '), ...process.execArgv]
  return { tag: host.isThere() ? host.tag() : undefined, flags: given.filter((flag) => flag.startsWith('--')) }
}

/** Finds the bytes of what was not written. Where nobody has them any more, the next run leaves them at once. */
function fetchKept() {
  for (const [name, entry] of left) {
    if (!entry.isKept) continue
    const file = fileOf(entry.folders, { name, ...entry.facts })
    const module = entry.module ?? made.get(name)?.deref()
    const shim = file !== undefined || module === undefined ? undefined : host.load()
    if (file !== undefined) entry.content = { file }
    else if (shim !== undefined) entry.content = new Uint8Array(shim.wire(module))
    else {
      fs.utimesSync(seenRun(name), 0, 0)
      left.delete(name)
    }
  }
}

/** What is written of a module: [file, content]; the module itself, which makes it a task, last. */
function partsOf([name, { facts, content }], run) {
  const budgets = budgetsOf(name)
  return [
    ...(budgets === undefined ? [] : [[seenBudgets(name), budgets]]),
    [seenRun(name), JSON.stringify({ ...facts, run, isWanted, ...v8() })],
    ...(content === undefined ? [] : [[seenModule(name), content]]),
  ]
}

/** @param {boolean} isLate whether this process ends: its memory is about to be free, and what it starts may write for it */
function hand(run, isLate) {
  const { leaveToJudge, mayJudge, startJudge } = require('../process/judging.js')
  if (!isWaitedFor && !mayJudge()) {
    withdraw()
    return
  }
  if (!isLate) dropTooLarge()
  fetchKept()
  if (left.size === 0) return
  const parts = [...left].flatMap((one) => partsOf(one, run))
  const now = process.uptime()
  const isStarted = !isWanted && now - lastStart < STARTING
  if (isLate && !isStarted && !isWaitedFor && leaveToJudge(host.load(), parts)) return
  for (const [file, content] of parts) replace(file, content)
  if (isStarted || isWaitedFor) return
  lastStart = now
  startJudge()
}

module.exports = { budgetsOf, estimate, leave, leaveBytes, note }
