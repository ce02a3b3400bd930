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

/** So much is no reason. */
const SMALL = 50 // ms

/**
 * @param {{run?: {argv: number, wall: number}, runs?: number[]}} before the run on the built-in engine, and those that were compared
 * @param {{argv: number, wall: number}} run the one that ends
 * @returns {{isWorse: boolean, runs: number[], times: string} | undefined} undefined where it says nothing new
 */
function withRun({ run: first, runs = [] }, { argv, wall }) {
  if (first === undefined || first.argv !== argv || wall > LONG || runs.length >= RUNS) return undefined
  const all = [...runs, wall]
  const best = Math.min(...all)
  const isWorse = all.length === RUNS ? best > ENOUGH * first.wall : wall > BAD * first.wall + 2 * SMALL
  return { isWorse, runs: all, times: `${formatDuration(best)} for ${formatDuration(first.wall)}` }
}

module.exports = { SMALL, withRun }
