'use strict'

// The warnings that the cache, or this whole package, cannot be used. A program that compiles everything anew on every run
// would otherwise only seem slow, and nobody would look for the reason where it is.
//
// Promise: one in a process, whatever its threads. Each of the cache's failures is an event beside it (./events.js). Who
// does not want it runs Node with --no-warnings, or switches the cache off.

const NAME = 'WasmCompileCacheWarning'

let closing = false

/** The process ends: what is emitted from here on is told at once. */
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

// There may be no native side to ask whether another thread was told.
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
