'use strict'

// The end of a run on this package's engine: whether it was the better one.
//
// What a crossing between JavaScript and WebAssembly costs beside V8's own is known (docs/performance.md), and so is what the
// run on the built-in engine took. Where the first is more than was saved, or the same command took no less time, the verdict
// is for the built-in from the next run on; also where it took not much less, so that V8's own code is tried, which may take less
// yet. Times are wall times of whole processes, of the shortest of some runs.

const host = require('../code/host.js')
const { inUse, settled, write } = require('../front/verdicts.js')
const { formatDuration } = require('../cache/quantities.js')
const { compilingIn, runOf } = require('../front/run.js')
const { SMALL, withRun } = require('../front/trial.js')

/** What each costs more than V8's own, in ms (docs/performance.md). */
const COSTS = { calls: 60e-6, imports: 90e-6, exceptions: 3e-3, instances: 0.2 }

/** What V8 takes to compile lazily, in ms for a byte of a module, at least. */
const LAZY = 5e-6

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
function withThisRun(verdict, run) {
  const news = withRun(verdict, run)
  if (news === undefined) return undefined
  const { isWorse, isClear, runs, best, times, isDoubtful } = news
  if (isWorse) return { engine: 'builtin', basis: 'use', reason: `ours took ${times}`, runs }
  if (!isClear && !verdict.isTried && host.isThere()) {
    const reason = `ours took ${times}, and V8's code may take less`
    return { engine: 'builtin', basis: 'use', reason, runs, ours: { wall: best, reason: times } }
  }
  return { runs, reason: times, ...(isDoubtful ? { again: 'wanted' } : {}) }
}

/** Looks at what this process used. */
function watch(native) {
  for (const [name, verdict] of inUse()) {
    const run = runOf()
    const news = objectionOfCrossings(verdict, native.crossings(), run.wall) ?? withThisRun(verdict, run)
    if (news !== undefined) write([name], settled({ ...verdict, ...news }, host.tag()))
  }
}

module.exports = { watch }
