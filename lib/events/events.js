'use strict'

// Events: what happened, for subscribers, for NODE_DEBUG and for the Chrome trace.
//
// Owns: the diagnostics_channel channels `wasm-compile-cache:<name>`, the lines of NODE_DEBUG=wasm-compile-cache, and
// handing every event to ./trace.js. The names are those of V8's own trace (https://v8.dev/blog/wasm-code-caching)
// and, for what V8 has no name for: baselineReady, optimizedReady, moduleCacheMiss, cacheWriteFailed, handedOff, fallback,
// remoteHit, remoteMiss, remoteInvalid, remoteFailed, remoteStored, resource, verdict, featureOff, panicked. The first cacheWriteFailed of a process is a warning of Node's, too (./warning.js).
//
// An event is {name, ts (ms since the epoch), dur (ms), ...fields}. The thread that asked for the work emits it.
//
// Promise: nothing here throws into the work it reports on. (A throwing subscriber becomes an uncaught exception by
// the rules of diagnostics_channel, outside of our stack.)

const diagnostics = require('node:diagnostics_channel')
const { debuglog } = require('node:util')

const { tell } = require('./story.js')
const trace = require('./trace.js')
const warning = require('./warning.js')

const NAMES = [
  'streamFromResponseCallback',
  'compiledModule',
  'cachedModule',
  'moduleCacheHit',
  'moduleCacheMiss',
  'moduleCacheInvalid',
  'cacheWriteFailed',
  'baselineReady',
  'optimizedReady',
  'handedOff',
  'remoteHit',
  'remoteMiss',
  'remoteInvalid',
  'remoteFailed',
  'remoteStored',
  'fallback',
  'resource',
  'verdict',
  'featureOff',
  'panicked',
]

const channels = new Map(NAMES.map((name) => [name, diagnostics.channel(`wasm-compile-cache:${name}`)]))

const debug = debuglog('wasm-compile-cache')

let native = null

/** Publishes one event; `ts` defaults to now. */
function emit(event) {
  event.ts ??= performance.timeOrigin + performance.now()
  if (debug.enabled) debug('%s', tell(event))
  trace.record(event)
  let channel = channels.get(event.name)
  if (channel === undefined) {
    channel = diagnostics.channel(`wasm-compile-cache:${event.name}`)
    channels.set(event.name, channel)
  }
  if (channel.hasSubscribers) channel.publish(event)
  if (event.name === 'cacheWriteFailed' && native !== null) warning.warn(event, native)
}

/** Publishes what the native side has queued. */
function drain() {
  if (native === null) return
  for (const event of native.drainEvents()) emit(event)
}

/** Begins to listen to the native side; once per thread. */
function start(binding = require('../process/addon.js')) {
  if (native !== null) return
  native = binding
  trace.start()
  native.onEvents(drain)
}

/** The thread ends: the last events, then the trace file. */
function close() {
  warning.close()
  drain()
  trace.close()
}

module.exports = { NAMES, close, drain, emit, start }
