'use strict'

const { subscribe } = require('node:diagnostics_channel')
const { once } = require('node:events')
const fs = require('node:fs')
const { fileURLToPath } = require('node:url')

const { formatDuration, formatSize } = require('../cache/quantities.js')
const { parsedSize } = require('./arguments.js')
const { interruptible } = require('./interruption.js')
const { judge } = require('./known.js')
const { open } = require('./open.js')
const { addOptions, settingsFor } = require('./remote.js')
const { table } = require('./screen.js')
const { collect } = require('./targets.js')

/**
 * The last event of each name, whatever its source: that is the address a response came from, not the one that was asked
 * for. It is cleared before each module.
 */
function listen() {
  const seen = new Map()
  for (const name of ['compiledModule', 'moduleCacheHit', 'cachedModule', 'remoteHit', 'cacheWriteFailed', 'fallback']) {
    subscribe(`wasm-compile-cache:${name}`, (event) => seen.set(name, event))
  }
  return seen
}

/** Compiles one module, both tiers; the module, or what is wrong with it. */
async function compile({ compileStreaming, Module }, { url }, options) {
  try {
    const module = await compileStreaming(url, options)
    await Module.optimized(module)
    return { module }
  } catch (error) {
    return { error }
  }
}

/** What is known of a module by now: as the process that judges modules would find it. */
function known(seen) {
  const refused = seen.get('fallback')
  if (refused !== undefined) return { outcome: 'refused', feature: refused.feature, offset: refused.offset }
  const { hash, artifactBytes } = seen.get('cachedModule') ?? seen.get('remoteHit') ?? seen.get('moduleCacheHit') ?? {}
  if (hash === undefined) return undefined
  return { outcome: 'known', hash, artifactBytes }
}

/** Programs that have us in the built-in's place know it from their first run on. */
function tell({ name, url }, seen, { partition, minSize }) {
  if (url.protocol !== 'file:') return
  const bytes = fs.readFileSync(fileURLToPath(url))
  const found = bytes.length < minSize ? undefined : known(seen)
  if (found !== undefined) judge(found, { bytes, name, partition })
}

/** What fetch rejects with says "fetch failed" only; why is in its cause, which has but a code if several addresses failed. */
function failure({ message, code, cause }) {
  const why = cause?.message || cause?.code
  return { reason: why ? `${message}: ${why}` : message, code: code ?? cause?.code }
}

function outcomeOf({ name }, error, ms, { minSize, seen }) {
  const { bytes } = seen.get('compiledModule') ?? seen.get('fallback') ?? {}
  const found = (status, more) => ({ source: name, status, bytes, ms, ...more })
  if (error !== undefined) return found('failed', failure(error))
  const stored = seen.get('cachedModule')
  if (stored !== undefined) return found('stored', { artifactBytes: stored.artifactBytes })
  const received = seen.get('remoteHit')
  if (received !== undefined) return found('received', { artifactBytes: received.artifactBytes })
  const hit = seen.get('moduleCacheHit')
  if (hit !== undefined) return found('cached', { artifactBytes: hit.artifactBytes })
  const failed = seen.get('cacheWriteFailed')
  if (failed !== undefined) return found('failed', { reason: failed.reason, code: failed.code })
  const refused = seen.get('fallback')
  if (refused !== undefined) return found('skipped', { reason: `needs ${refused.feature}, which only the built-in engine has` })
  if (bytes < minSize) return found('skipped', { reason: `smaller than ${formatSize(minSize)}` })
  if (bytes === undefined) return found('failed', { reason: 'no event was emitted for it' })
  return found('same', { reason: 'the same bytes as another' })
}

const COLORS = { stored: 'green', received: 'green', cached: 'green', failed: 'red', skipped: 'yellow', same: 'dim' }

function row({ source, status, bytes, artifactBytes, ms, reason }, screen) {
  const detail =
    reason ?? (['stored', 'received'].includes(status) ? `${formatSize(artifactBytes)} of code, ${formatDuration(ms)}` : '')
  return [screen[COLORS[status]](status), bytes === undefined ? '' : formatSize(bytes), source, detail]
}

function progress(length, { interactive }) {
  if (!interactive || length === 0) return { next() {}, stop() {} }
  const { Presets, SingleBar } = require('cli-progress')
  const format = '{bar} {value}/{total}  {name}'
  const bar = new SingleBar({ format, stream: process.stderr, clearOnComplete: true, hideCursor: true }, Presets.shades_classic)
  bar.start(length, 0, { name: '' })
  return { next: (name, done) => bar.update(done, { name }), stop: () => bar.stop() }
}

module.exports = {
  usage: 'warm <target...>',
  summary: 'compile modules, so that later runs find them: files, folders, addresses, packages',
  help: `
A folder means all *.wasm files below it. A package is found from the current folder and means all of its *.wasm files;
package/path means those at that path. The command ends when all modules are compiled and stored: for Dockerfiles and
postinstall scripts.
Each module is "stored", "received" (the remote cache had it), "cached" (it was there already), "same" (the bytes of another), "skipped" (too small, or beyond
this engine) or "failed"; exit code 1 if one failed.`,
  options: (command) =>
    addOptions(command)
      .option('--partition <name>', 'the partition of the cache', '')
      .option('--min-size <size>', 'smaller modules are not cached', parsedSize, 131072),

  async run([targets], options, screen) {
    settingsFor(options)
    const cache = open(options)
    const { partition, minSize } = options
    const { modules, failures } = collect(targets)
    const seen = listen()
    const wasm = require('../../index.js')
    const bar = progress(modules.length, screen)
    const outcomes = failures
    const ended = await interruptible(async (aborted) => {
      const interruption = once(aborted, 'abort')
      try {
        for (const [done, module] of modules.entries()) {
          bar.next(module.name, done)
          seen.clear()
          const started = performance.now()
          const compiled = compile(wasm, module, { partition, minSize, fallback: 'builtin' })
          const { module: made, error } = await Promise.race([compiled, interruption])
          if (aborted.aborted) break
          await cache.flush()
          if (made !== undefined) tell(module, seen, options)
          outcomes.push(outcomeOf(module, error, performance.now() - started, { minSize, seen }))
        }
      } finally {
        bar.stop()
      }
    })
    const failed = outcomes.some(({ status }) => status === 'failed')
    return {
      ...ended,
      code: failed ? 1 : 0,
      json: outcomes,
      text: table(
        outcomes.map((one) => row(one, screen)),
        { right: [1] }
      ),
    }
  },
}
