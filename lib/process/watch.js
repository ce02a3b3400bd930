'use strict'

// The end of a run on this package's engine: whether it was the better one.
//
// What a crossing between JavaScript and WebAssembly costs beside V8's own is known (docs/performance.md), and so is what the
// run on the built-in engine took. Where the first is more than was saved, or the same command took no less time, the verdict
// is for the built-in from the next run on. Times are wall times of whole processes, of the shortest of some runs.

const { inUse, write } = require('../front/verdicts.js')
const { formatDuration } = require('../cache/quantities.js')
const { compilingIn, runOf } = require('../front/run.js')

/** What each costs more than V8's own, in ms (docs/performance.md). */
const COSTS = { calls: 60e-6, imports: 90e-6, exceptions: 3e-3, instances: 0.2 }

/** So much is no reason. */
const SMALL = 50 // ms

/** What V8 takes to compile lazily, in ms for a byte of a module, at least. */
const LAZY = 5e-6

/** Runs of one command that are compared, and how long they may be to say something of compiling. */
const RUNS = 3
const LONG = 60_000 // ms

/** Ours has to be better than this of the built-in's time; where it is worse than that, nothing more has to be seen. */
const ENOUGH = 0.95
const BAD = 1.2

const count = (value) => Math.round(value).toLocaleString('en')

/** What the built-in engine compiled in its run, in ms. */
const compiling = ({ run, size }) => LAZY * size + (run === undefined ? 0 : (compilingIn(run) ?? 0))

function objectionOfCrossings(verdict, crossings, wall) {
  const cost = Object.entries(COSTS).reduce((sum, [name, each]) => sum + each * crossings[name], 0)
  if (cost < SMALL + compiling(verdict)) return undefined
  const { calls, imports, exceptions } = crossings
  const reason =
    exceptions > calls + imports
      ? `${count(exceptions)} exceptions in ${formatDuration(wall)}`
      : `${count(calls + imports)} crossings in ${formatDuration(wall)}`
  return { engine: 'builtin', basis: 'use', reason, crossings }
}

/** The verdict with one more run; undefined where it says nothing new. */
function withRun(verdict, { argv, wall }) {
  const { run, runs = [] } = verdict
  if (run === undefined || run.argv !== argv || wall > LONG || runs.length >= RUNS) return undefined
  const all = [...runs, wall]
  const best = Math.min(...all)
  const times = `${formatDuration(best)} for ${formatDuration(run.wall)}`
  const isWorse = all.length === RUNS ? best > ENOUGH * run.wall : wall > BAD * run.wall + 2 * SMALL
  if (isWorse) {
    return { engine: 'builtin', basis: 'use', reason: `ours took ${times}`, runs: all }
  }
  return { runs: all, reason: times }
}

/** Looks at what this process used. */
function watch(native) {
  for (const [name, verdict] of inUse()) {
    const run = runOf()
    const news = objectionOfCrossings(verdict, native.crossings(), run.wall) ?? withRun(verdict, run)
    if (news !== undefined) write([name], { ...verdict, ...news })
  }
}

module.exports = { watch }
