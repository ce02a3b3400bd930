'use strict'

// What this process can say of its run.

const fs = require('node:fs')

const { ofText } = require('./sample.js')

/** CPU time of the main thread, in ms; undefined where it is not to be had. Other encodings than this one take Node 20 a millisecond. */
function mainThread() {
  try {
    return Number(fs.readFileSync('/proc/self/schedstat', 'utf8').split(' ', 1)[0]) / 1e6
  } catch {
    return undefined
  }
}

/**
 * Times of this run, in ms: since its start, of all threads' CPU, and of the main thread's; its memory at its peak, in bytes; and
 * what was run.
 */
function runOf() {
  const { user, system } = process.cpuUsage()
  return {
    wall: 1e3 * process.uptime(),
    cpu: (user + system) / 1e3,
    main: mainThread(),
    peak: 1024 * process.resourceUsage().maxRSS,
    argv: ofText(process.argv.slice(1).join('\0')),
  }
}

/**
 * Below this, in ms, V8 compiled too little for anything to be saved: what its other threads did in a run is mostly that
 * (docs/development/decisions.md).
 */
const LITTLE = 40

/** What V8's other threads did in a run, in ms; undefined where it is not to be had. */
const compilingIn = ({ cpu, main }) => (main === undefined ? undefined : Math.max(0, cpu - main))

/** The verdict for a module of which V8 compiled little; undefined for another. */
function littleIn(run) {
  const compiling = compilingIn(run)
  if (compiling === undefined || compiling >= LITTLE) return undefined
  return { engine: 'builtin', basis: 'little', reason: `V8 compiled for ${Math.round(compiling)} ms only` }
}

module.exports = { compilingIn, littleIn, runOf }
