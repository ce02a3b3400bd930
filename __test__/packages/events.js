'use strict'
// The events of a run, as observe.js wrote them: one line of JSON each, from every process and
// worker thread of the run.

const fs = require('node:fs')

/** Modules below this size are not cached unless asked (index.d.ts, `minSize`). */
const CACHED_FROM = 128 * 1024

/** What is published when a module of the run was compiled, by the one tier or the other. */
const BASELINE = ['baselineReady']
const OPTIMIZED = ['optimizedReady']

function readEvents(file) {
  if (!file || !fs.existsSync(file)) return []
  return fs
    .readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line))
}

/** hash → size in bytes of the modules that one of `names` was published for. */
function modulesOf(events, ...names) {
  const found = new Map()
  for (const event of events) {
    if (!names.includes(event.name)) continue
    if (!event.hash || !event.bytes) throw new Error(`an event without hash or bytes: ${JSON.stringify(event)}`)
    found.set(event.hash, event.bytes)
  }
  return found
}

/**
 * True when nothing is left to happen: every module the run compiled has its optimizing tier, and
 * the cacheable ones are in the cache (unless the run found them there). Before the first event of
 * any module, false.
 */
function isSettled(events) {
  const hit = modulesOf(events, 'moduleCacheHit')
  const compiled = modulesOf(events, ...BASELINE)
  const optimized = modulesOf(events, 'optimizedReady')
  const cached = modulesOf(events, 'cachedModule')
  if (hit.size + compiled.size === 0) return false
  for (const [hash, size] of compiled) {
    if (hit.has(hash)) continue
    if (!optimized.has(hash)) return false
    if (size >= CACHED_FROM && !cached.has(hash)) return false
  }
  return true
}

module.exports = { BASELINE, CACHED_FROM, OPTIMIZED, isSettled, modulesOf, readEvents }
