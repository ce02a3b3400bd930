'use strict'

// The sentence that NODE_DEBUG=wasm-compile-cache prints for an event: what was looked for, what was found or why not,
// what came of it, and how long it took.

const { inspect } = require('node:util')

const { formatDuration, formatSize } = require('../cache/quantities.js')

/** The module that an event is about. */
function subject({ source, hash, bytes }) {
  const known = [bytes === undefined ? '' : formatSize(bytes), hash?.slice(0, 12) ?? ''].filter((part) => part !== '')
  return `${source || 'bytes'}${known.length === 0 ? '' : ` (${known.join(', ')})`}`
}

const took = ({ dur }) => `in ${formatDuration(dur)}`

const share = (part, whole) => `${Math.round((100 * part) / whole)} %`

const OUTCOMES = {
  fresh: 'kept and still fresh, so nothing is requested',
  revalidated: 'kept, and the server says that nothing changed',
  fetched: 'the server sends it',
  changed: 'the server sends another one than was kept',
  stale: 'kept and stale, which the server allows when it fails',
}

const SENTENCES = {
  streamFromResponseCallback: (event) =>
    `all ${formatSize(event.bytes)} have arrived, ${event.chunks} chunk${event.chunks === 1 ? '' : 's'} ${took(event)}`,
  moduleCacheHit: (event) =>
    `found ${event.path} (${formatSize(event.artifactBytes)}), verified ${event.verified}, and ${event.pages === 'shared' ? 'mapped' : 'copied'} it ${took(event)}; nothing is compiled`,
  moduleCacheMiss: (event) => `not in the cache (${event.reason}), after ${formatDuration(event.dur)}; it is compiled`,
  moduleCacheInvalid: (event) =>
    `the artifact cannot be used (${event.reason}), after ${formatDuration(event.dur)}; it is compiled anew`,
  baselineReady: (event) =>
    `compiled by the baseline tier ${took(event)}${event.craneliftBytes > 0 ? `, ${share(event.craneliftBytes, event.bytes)} of it by Cranelift` : ''}`,
  compiledModule: (event) => `can be run, after ${formatDuration(event.dur)}`,
  optimizedReady: (event) => `optimised code has taken over, after ${formatDuration(event.dur)}`,
  cachedModule: (event) => `stored ${event.path} (${formatSize(event.artifactBytes)}) ${took(event)}`,
  cacheWriteFailed: (event) => `not stored: ${event.reason}`,
  remoteHit: (event) =>
    `the remote cache had it: ${formatSize(event.transferBytes)} for ${formatSize(event.artifactBytes)} of code, ${took(event)}`,
  remoteMiss: (event) => `not in the remote cache either, after ${formatDuration(event.dur)}`,
  remoteInvalid: (event) => `what the remote cache has is not used: ${event.reason}`,
  remoteFailed: (event) => `the remote cache could not be used: ${event.reason}`,
  remoteStored: (event) => `sent to the remote cache (${formatSize(event.transferBytes)}) ${took(event)}`,
  fallback: (event) =>
    `compiled by the built-in engine, because it needs ${event.feature}${event.offset === undefined ? '' : ` at offset ${event.offset}`}`,
  resource: (event) =>
    `${OUTCOMES[event.outcome]}${event.status === undefined ? '' : ` (status ${event.status})`}, after ${formatDuration(event.dur)}`,
  verdict: (event) => `${event.engine === 'ours' ? 'this package compiles' : 'the built-in engine compiles'}: ${event.reason}`,
  featureOff: (event) => `this process does without ${event.feature}: ${event.reason}`,
  panicked: (event) => `an error of wasm-compile-cache itself: ${event.what}: ${event.message}`,
  handedOff: (event) => `process ${event.pid} finishes what is left of ${event.spool}`,
}

/** For events that have no sentence: what they carry. */
function facts({ name: _, ts: _ts, dur, source: _source, hash: _hash, bytes: _bytes, ...rest }) {
  const parts = Object.entries(rest).filter(([, value]) => value !== undefined && value !== '')
  const told = parts.map(
    ([key, value]) => `${key}=${typeof value === 'string' ? value : inspect(value, { breakLength: Infinity })}`
  )
  return [...told, ...(dur > 0 ? [formatDuration(dur)] : [])].join(' ')
}

/** One line. */
function tell(event) {
  const sentence = Object.hasOwn(SENTENCES, event.name) ? SENTENCES[event.name](event) : facts(event)
  return event.source === undefined ? `${event.name}: ${sentence}` : `${event.name} ${subject(event)}: ${sentence}`
}

module.exports = { tell }
