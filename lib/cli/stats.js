'use strict'

const { formatDuration, formatSize } = require('../cache/quantities.js')
const { list } = require('../front/verdicts.js')
const { open } = require('./open.js')
const { table } = require('./screen.js')

const total = (counts) => Object.values(counts).reduce((sum, count) => sum + count, 0)

const reasons = (misses) =>
  Object.entries(misses)
    .map(([reason, count]) => `${reason} ${count}`)
    .join(', ')

/** Without a cache there is no limit either. */
const limited = (bytes, limit) => (limit === 0 ? formatSize(bytes) : `${formatSize(bytes)} of ${formatSize(limit)}`)

/** A line, where a remote cache was ever asked. */
function remoteOf({ hits, misses, failures, writes, bytesRead, bytesWritten, time }) {
  if (hits + misses + failures + writes === 0) return []
  const told = [
    `${hits} hits, ${formatSize(bytesRead)}`,
    `${misses} misses`,
    `${writes} writes, ${formatSize(bytesWritten)}`,
    `${failures} failed`,
    formatDuration(time),
  ]
  return [['remote', told.join('; ')]]
}

function lines({ total: all, entries, bytes, limit, quarantined, verdicts }) {
  const missed = total(all.misses)
  return [
    ['entries', `${entries}, ${limited(bytes, limit)}`],
    ['hits', `${all.hits}`],
    ['misses', missed === 0 ? '0' : `${missed} (${reasons(all.misses)})`],
    ['writes', `${all.writes}, ${formatSize(all.bytesWritten)}; ${all.writeFailures} failed`],
    ['evicted', `${all.evicted}`],
    ['quarantined', `${all.quarantined}; ${quarantined.files} kept, ${formatSize(quarantined.bytes)}`],
    ...remoteOf(all.remote),
    ['verdicts', `${verdicts.ours} for this engine, ${verdicts.builtin} for the built-in`],
  ]
}

module.exports = {
  usage: 'stats',
  summary: 'show hits, misses and writes of all processes',

  run(_args, options) {
    const counts = open(options, { mode: 'read-only' }).stats()
    const of = (wanted) => list().filter(({ engine }) => engine === wanted).length
    const stats = { ...counts, verdicts: { ours: of('ours'), builtin: of('builtin') } }
    return { json: stats, text: table(lines(stats)) }
  },
}
