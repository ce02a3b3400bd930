'use strict'
// Whole programs in several columns, one process after the other in turns.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./measure.js')
const { line } = require('./progress.js')
const { summarize } = require('./statistics.js')

/**
 * Measures a row of ./rows.
 *
 * @param {object} row
 * @param {{[key: string]: {label: string, env?: object, isEmpty?: boolean}}} columns the first is what the others' ratios are to;
 *   without `env` it is the built-in engine, and with `isEmpty` each process has a new cache
 * @param {{rounds: number, directory: string}} settings
 */
async function interleave(row, columns, { rounds, directory }) {
  const times = Object.fromEntries(Object.keys(columns).map((key) => [key, []]))
  let digest
  for (let round = 0; round < rounds; round++) {
    for (const [key, { env, isEmpty }] of Object.entries(columns)) {
      const empty = path.join(directory, 'empty')
      fs.rmSync(empty, { recursive: true, force: true })
      const result = await run({
        args: row.args(),
        ours: env !== undefined,
        env: isEmpty ? { ...env, WASM_COMPILE_CACHE: empty } : env,
      })
      digest ??= result.digest
      if (result.digest !== digest) throw new Error(`${row.name}, ${key}: another output`)
      times[key].push(result.wall)
    }
    line(`${row.name}, round ${round + 1} of ${rounds}`)
  }
  const { median: first } = summarize(Object.values(times)[0])
  const summed = Object.entries(columns).map(([key, { label }]) => {
    const summary = summarize(times[key])
    return [key, { label, ...summary, ratio: summary.median / first }]
  })
  return { name: row.name, title: row.title, columns: Object.fromEntries(summed) }
}

/** What it found, for who looks on. */
function print(rows) {
  for (const { title, columns } of rows) {
    console.log(title)
    for (const { label, median, min, max, ratio } of Object.values(columns)) {
      console.log(`  ${label}: ${median.toFixed(0)} ms (${min.toFixed(0)} to ${max.toFixed(0)}), ${ratio.toFixed(2)}`)
    }
  }
}

module.exports = { interleave, print }
