'use strict'
// One row: its columns in turn, so that a slow minute of the machine meets all of them.

const { mkdtempSync } = require('node:fs')
const path = require('node:path')
const { prime, primeV8, withCache } = require('./cache.js')
const { standard } = require('./columns.js')
const { run } = require('./measure.js')
const { progress } = require('./progress.js')
const { summarize } = require('./statistics.js')

/** One process of a column: {line: value}, its peak RSS, its CPU time. */
async function sample(row, column, place) {
  const result = await withCache(column.ours, place, (env) =>
    run({ args: place.args, flags: column.flags, ours: column.ours !== undefined, env: { ...env, ...row.env, ...column.env } })
  )
  if (!row.read) return { values: { '': result.wall }, ...result }
  const read = row.read(JSON.parse(result.output))
  return { values: typeof read === 'object' ? read : { '': read }, ...result }
}

/** The candidate with the least median of three; flags that this Node lacks are passed over. */
async function bestFlags(row, column, place) {
  const tried = []
  for (const flags of column.candidates) {
    progress(`${row.name}: trying the flags ${flags.join(' ')}`)
    try {
      const times = []
      for (let i = 0; i < 3; i++) times.push((await sample(row, { flags }, place)).values[''])
      tried.push({ flags, ms: summarize(times).median })
    } catch (error) {
      if (!error.badOption) throw error
    }
  }
  tried.sort((a, b) => a.ms - b.ms)
  return { flags: tried[0].flags, tried }
}

/** @returns {Promise<object[]>} one result a line of the row */
async function measureRow(row, { directory, rounds, addon }) {
  const made = (name) => mkdtempSync(path.join(directory, name))
  const place = { directory, hot: made('hot-'), code: made('v8-'), args: await row.args(directory) }
  const columns = []
  for (const column of row.columns ?? standard) {
    if (column.ours && !addon) continue
    columns.push(column.candidates ? { ...column, ...(await bestFlags(row, column, place)) } : column)
  }
  if (columns.some(({ ours }) => ours === 'hot')) {
    progress(`${row.name}: filling the cache`)
    await prime(place.hot, row.modules())
  }

  if (columns.some(({ ours }) => ours === 'v8')) {
    progress(`${row.name}: having V8 compile`)
    await primeV8(place.code, place.args, row.env)
  }

  const samples = new Map(columns.map((column) => [column, []]))
  for (let round = 0; round < rounds; round++) {
    for (let i = 0; i < columns.length; i++) {
      const column = columns[(round + i) % columns.length] // nobody is always first
      progress(`${row.name}: round ${round + 1} of ${rounds}, ${column.label}`)
      samples.get(column).push(await sample(row, column, place))
    }
  }
  if (!row.read) {
    const digests = new Set([...samples.values()].flat().map(({ digest }) => digest))
    if (digests.size > 1) throw new Error(`${row.name}: the columns do not agree on the output`)
  }
  return lines(row).map(([line, title]) => result(row, line, title, samples))
}

const lines = (row) => Object.entries(row.lines ?? { '': row.title })

function result(row, line, title, samples) {
  const columns = {}
  for (const [{ key, label, flags, tried }, all] of samples) {
    const values = all.map((one) => one.values[line]).filter((value) => value !== undefined)
    if (values.length === 0) continue
    columns[key] = {
      label,
      flags,
      tried,
      ...summarize(values),
      cpu: summarize(all.map((one) => one.cpu)).median,
      rss: summarize(all.map((one) => one.rss)).median,
      values,
    }
  }
  const reference = Object.values(columns)[0]
  for (const column of Object.values(columns)) column.ratio = columns.builtin ? column.median / reference.median : undefined
  return { name: line ? `${row.name}-${line}` : row.name, row: row.name, title, unit: row.unit ?? 'ms', whole: !row.read, columns }
}

module.exports = { measureRow }
