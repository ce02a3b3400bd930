'use strict'

// Runs of one command, compared with the one on the built-in engine that a verdict came from. Times are wall times of whole
// processes.

const { formatDuration } = require('../cache/quantities.js')

/** Runs of one command that are compared, and how long they may be to say something of compiling. */
const RUNS = 3
const LONG = 60_000 // ms

/** They have to be better than this of the built-in's time; where one is worse than that, nothing more has to be seen. */
const ENOUGH = 0.95
const BAD = 1.2

/** Where the main thread was no less busy than so much of before, what was saved may be what the first run waited for: a disk. */
const CLOSE = 0.8

/** So much is no reason. */
const SMALL = 50 // ms

const shortest = (runs) => Math.min(...runs)

const isComparable = ({ run: first, runs = [] }, { argv, wall }) =>
  first !== undefined && first.argv === argv && wall <= LONG && runs.length < RUNS

const isClose = (run, first) => (run.main ?? run.wall) > CLOSE * (first.main ?? first.wall)

/**
 * A run on this package's engine.
 *
 * @param {{run?: {argv: number, wall: number, main?: number}, runs?: number[]}} before the run on the built-in engine, and those
 *   that were compared
 * @param {{argv: number, wall: number, main?: number}} run the one that ends
 * @returns {{isWorse: boolean, runs: number[], times: string, isDoubtful: boolean} | undefined} undefined where it says nothing new;
 *   `isDoubtful`: the next one is to be on the built-in engine once more
 */
function withRun(before, run) {
  if (!isComparable(before, run)) return undefined
  const { run: first, runs = [] } = before
  const all = [...runs, run.wall]
  const best = shortest(all)
  const isWorse = all.length === RUNS ? best > ENOUGH * first.wall : run.wall > BAD * first.wall + 2 * SMALL
  const times = `${formatDuration(best)} for ${formatDuration(first.wall)}`
  return { isWorse, runs: all, times, isDoubtful: runs.length === 0 && isClose(run, first) }
}

/**
 * A run on V8's code. That costs what it takes to take it, which is known: one bad run is the machine's. Where it is no longer,
 * less work for the processor is enough.
 *
 * @param {{run?: object, runs?: {wall: number, cpu: number}[]}} before
 * @param {{argv: number, wall: number, cpu: number}} run
 * @returns {{isWorse: boolean, runs: object[], times: string} | undefined} as above
 */
function withRunOfCode(before, run) {
  if (!isComparable(before, run)) return undefined
  const { run: first, runs = [] } = before
  const all = [...runs, { wall: run.wall, cpu: run.cpu }]
  const [wall, cpu] = ['wall', 'cpu'].map((what) => shortest(all.map((one) => one[what])) / first[what])
  const isWorse = all.length === RUNS && (wall > 1 || (wall > ENOUGH && cpu > ENOUGH))
  return { isWorse, runs: all, times: `${formatDuration(wall * first.wall)} for ${formatDuration(first.wall)}` }
}

module.exports = { SMALL, withRun, withRunOfCode }
