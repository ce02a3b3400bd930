'use strict'
// The results for a terminal: a table for each run of rows with the same columns.

const Table = require('cli-table3')

const number = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))
const plain = { style: { head: [], border: [] } }

/** "1494 ms (1.00×) 1450–1600": median, ratio to the built-in, range. */
function cell(column, unit) {
  if (!column) return ''
  const ratio = column.ratio === undefined ? '' : `  ${column.ratio.toFixed(2)}×`
  return `${number(column.median)} ${unit}${ratio}\n${number(column.min)}–${number(column.max)}`
}

const rss = (column) => (column ? `${(column.rss / 1048576).toFixed(0)} MiB` : '')

function groups(results) {
  const found = []
  for (const row of results) {
    const keys = Object.entries(row.columns).map(([key, { label }]) => [key, label])
    const last = found.at(-1)
    const same = last && (last.row === row.row || JSON.stringify(last.keys) === JSON.stringify(keys))
    if (same) last.rows.push(row)
    else found.push({ row: row.row, keys, rows: [row] })
  }
  return found
}

/** @returns {string} */
function table(results) {
  const parts = []
  for (const { keys, rows } of groups(results)) {
    const times = new Table({ ...plain, head: ['', ...keys.map(([, label]) => label)] })
    const memory = new Table({ ...plain, head: ['peak RSS', ...keys.map(([, label]) => label)] })
    for (const row of rows) times.push([row.title, ...keys.map(([key]) => cell(row.columns[key], row.unit))])
    for (const row of rows.filter((row, i) => rows[i - 1]?.row !== row.row)) {
      memory.push([row.row === row.name ? row.title : row.row, ...keys.map(([key]) => rss(row.columns[key]))])
    }
    parts.push(times.toString(), memory.toString())
  }
  for (const row of results) {
    if (row.columns.best) {
      parts.push(`best flags, ${row.title}: ${row.columns.best.flags.join(' ') || 'none is better than the default'}`)
    }
  }
  return parts.join('\n')
}

module.exports = { table }
