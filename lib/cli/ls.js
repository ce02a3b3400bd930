'use strict'

const { formatSize } = require('../cache/quantities.js')
const { list } = require('../front/verdicts.js')
const { open } = require('./open.js')
const { table } = require('./screen.js')

/** "2026-01-31 09:05", in the user's time zone. */
function minute(time) {
  const date = new Date(time)
  const two = (number) => String(number).padStart(2, '0')
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-')
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}`
}

const HEAD = ['last used', 'wasm', 'code', 'hash', 'source']

const row = ({ lastUsed, wasmBytes, bytes, hash, source, partition, current, engine }) => [
  minute(lastUsed),
  formatSize(wasmBytes),
  formatSize(bytes),
  hash.slice(0, 12),
  [source || '(bytes)', partition && `partition ${partition}`, engine.v8 && "V8's code", current ? '' : 'of another engine']
    .filter(Boolean)
    .join(', '),
]

const verdictRow = ({ size, hash, reason, source }) => [formatSize(size), hash?.slice(0, 12) ?? '', reason, source]

const asEntry = ({ size, hash, source, partition, engine, reason, made }) => ({
  wasmBytes: size,
  bytes: 0,
  hash,
  source,
  partition,
  lastUsed: made,
  verdict: { engine, reason },
})

module.exports = {
  usage: 'ls',
  summary: 'list what is cached, last used first',

  run(_args, options, { dim }) {
    const entries = open(options, { mode: 'read-only' })
      .entries()
      .sort((a, b) => b.lastUsed - a.lastUsed)
    const text = () => table(entries.map(row), { head: HEAD.map((title) => dim(title)), right: [1, 2] })
    const elsewhere = list().filter(({ engine }) => engine === 'builtin')
    const parts = [
      entries.length === 0 ? 'Nothing is cached.' : text(),
      ...(elsewhere.length === 0
        ? []
        : [`\nUnder register, the built-in engine compiles:\n${table(elsewhere.map(verdictRow), { right: [0] })}`]),
    ]
    return { json: [...entries, ...elsewhere.map(asEntry)], text: parts.join('\n') }
  },
}
