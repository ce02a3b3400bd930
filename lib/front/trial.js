'use strict'

// Runs of one command, compared with the one on the built-in engine that a verdict came from. Times are wall times of whole
// processes.

const { formatDuration, formatSize } = require('../cache/quantities.js')

/** Runs of one command that are compared, and how long they may be to say something of compiling. */
const RUNS = 3
const LONG = 60_000 // ms

/** They have to be better than this of the built-in's time; where one is worse than that, nothing more has to be seen. */
const ENOUGH = 0.95
const BAD = 1.2

/** Where this package's engine takes more than this of it, V8's own code may take less. */
const CLEAR = 0.7

/** Where the main thread was no less busy than so much of before, what was saved may be what the first run waited for: a disk. */
const CLOSE = 0.8

/** So much is no reason. */
const SMALL = 50 // ms

/** What V8's code may take of memory, at the peak, beside so much of what the built-in took without it. */
const MORE = 8 * 1024 * 1024 // bytes
const SHARE = 1.05

const least = (values) => Math.min(...values)

const isComparable = ({ run: first, runs = [] }, { argv, wall }) =>
  first !== undefined && first.argv === argv && wall <= LONG && runs.length < RUNS

const isClose = (run, first) => (run.main ?? run.wall) > CLOSE * (first.main ?? first.wall)

/**
 * A run on this package's engine.
 *
 * @param {{run?: {argv: number, wall: number, main?: number}, runs?: number[]}} before the run on the built-in engine, and those
 *   that were compared
 * @param {{argv: number, wall: number, main?: number}} run the one that ends
 * @returns {{isWorse: boolean, isClear: boolean, runs: number[], best: number, times: string, isDoubtful: boolean} | undefined}
 *   undefined where it says nothing new; `isClear`: nothing more has to be tried; `isDoubtful`: the next one is to be on the
 *   built-in engine once more
 */
function withRun(before, run) {
  if (!isComparable(before, run)) return undefined
  const { run: first, runs = [] } = before
  const all = [...runs, run.wall]
  const best = least(all)
  const isWorse = all.length === RUNS ? best > ENOUGH * first.wall : run.wall > BAD * first.wall + 2 * SMALL
  const times = `${formatDuration(best)} for ${formatDuration(first.wall)}`
  const isClear = all.length < RUNS || best <= CLEAR * first.wall
  return { isWorse, isClear, runs: all, best, times, isDoubtful: runs.length === 0 && isClose(run, first) }
}

/**
 * A run on V8's code. That costs what it takes to take it, which is known: one bad run is the machine's. Where it is no longer,
 * less work for the processor is enough. It takes memory, too: V8 has the module's bytes twice while it takes it. Where this
 * package's engine has run the same, the code has to take less than that.
 *
 * @param {{run?: object, runs?: {wall: number, cpu: number, peak: number}[], ours?: {wall: number}}} before
 * @param {{argv: number, wall: number, cpu: number, peak: number}} run
 * @returns {{isWorse: boolean, runs: object[], times: string} | undefined} as above; `times`: and memory, where that is the reason
 */
function withRunOfCode(before, run) {
  if (!isComparable(before, run)) return undefined
  const { run: first, runs = [], ours = first } = before
  const all = [...runs, { wall: run.wall, cpu: run.cpu, peak: run.peak }]
  const [wall, cpu, peak] = ['wall', 'cpu', 'peak'].map((what) => least(all.map((one) => one[what])))
  const isLarge = peak > SHARE * first.peak + MORE
  const most = Math.min(first.wall, ours.wall)
  const isLonger = wall > most || (wall > ENOUGH * first.wall && cpu > ENOUGH * first.cpu)
  const times = isLarge
    ? `${formatSize(peak)} of memory for ${formatSize(first.peak)}`
    : `${formatDuration(wall)} for ${formatDuration(most)}`
  return { isWorse: all.length === RUNS && (isLarge || isLonger), runs: all, times }
}

module.exports = { SMALL, withRun, withRunOfCode }
