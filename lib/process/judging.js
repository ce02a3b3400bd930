'use strict'

// The start of ./judge.js, and what this process can say of its run.

const fs = require('node:fs')
const path = require('node:path')

const { locate } = require('../front/folder.js')
const { ofText } = require('../front/sample.js')
const { startDetached } = require('./detached.js')
const { areWaitedFor } = require('./orphans.js')
const { mayHandOff } = require('./permission.js')
const { environment } = require('./started.js')

const JUDGE = path.join(__dirname, 'judge.js')

const mayJudge = () => mayHandOff() && areWaitedFor()

/** CPU time of the main thread, in ms; undefined where it is not to be had. */
function mainThread() {
  try {
    return Number(fs.readFileSync('/proc/self/schedstat', 'latin1').split(' ', 1)[0]) / 1e6
  } catch {
    return undefined
  }
}

/** Times of this run, in ms: since its start, of all threads' CPU, and of the main thread's; and what was run. */
function runOf() {
  const { user, system } = process.cpuUsage()
  return { wall: performance.now(), cpu: (user + system) / 1e3, main: mainThread(), argv: ofText(process.argv.slice(1).join('\0')) }
}

/**
 * Below this, in ms, V8 compiled too little for anything to be saved: what its other threads did in a run is mostly that
 * (docs/development/decisions.md).
 */
const LITTLE = 40

/** What V8's other threads did in a run, in ms; undefined where it is not to be had. */
const compilingIn = ({ cpu, main }) => (main === undefined ? undefined : Math.max(0, cpu - main))

/** Soon, when the machine has nothing else to do; or `now`, as WASM_COMPILE_CACHE_FINISH may say. */
function startJudge() {
  const isNow = environment.WASM_COMPILE_CACHE_FINISH === 'now'
  startDetached(JUDGE, isNow ? ['now'] : [], { WASM_COMPILE_CACHE: locate().root }, !isNow)
}

module.exports = { LITTLE, compilingIn, mayJudge, runOf, startJudge }
