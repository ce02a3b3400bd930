'use strict'

// The warning that the cache cannot be used. A program that compiles everything anew on every run would otherwise only
// seem slow, and nobody would look for the reason where it is.
//
// Promise: one in a process, whatever its threads. Each of its failures is an event beside it (./events.js). Who does not
// want it runs Node with --no-warnings, or switches the cache off.

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

module.exports = { close, warn }
