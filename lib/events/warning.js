'use strict'

// The warnings that the cache, or this whole package, cannot be used. Without them, a program that compiles everything
// anew on every run would only seem slow.
//
// Promise: one in a process, however many threads it has. Each failure of the cache is an event, too (./events.js).
// Node's --no-warnings switches it off, and so does a cache that is off.

const NAME = 'WasmCompileCacheWarning'

let closing = false

/** The process ends: warnings are emitted at once from here on. */
function close() {
  closing = true
}

/** @param {{reason: string, code: string}} event a `cacheWriteFailed` */
function warn({ reason, code }, native) {
  if (!native.claimWarning()) return
  if (!closing) process.emitWarning(reason, { type: NAME, code })
  // process.emitWarning waits for a tick that does not come any more.
  else process.emit('warning', Object.assign(new Error(reason), { name: NAME, code }))
}

// Native code, which knows whether another thread has warned, may be missing.
const TOLD = 'wasm-compile-cache.absent'

/**
 * The program that ./register.js was loaded for runs without this package.
 *
 * @param {Error} error why
 */
function warnOfAbsence({ message, code }) {
  // Nothing is lost where there is no WebAssembly.
  const { getEnvironmentData, setEnvironmentData } = require('node:worker_threads')
  if (code === 'ERR_WASM_NO_WEBASSEMBLY' || getEnvironmentData(TOLD)) return
  setEnvironmentData(TOLD, true)
  process.emitWarning(`${message}. The program runs on Node's own engine`, { type: NAME, code })
}

module.exports = { close, warn, warnOfAbsence }
