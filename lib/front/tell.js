'use strict'

// The event of a choice, while nothing of this package's engine is loaded: only where somebody listens.

const diagnostics = require('node:diagnostics_channel')

/** Whether somebody wants events of this name. */
function isHeard(name) {
  if (diagnostics.hasSubscribers(`wasm-compile-cache:${name}`)) return true
  const { NODE_DEBUG, WASM_COMPILE_CACHE_TRACE } = process.env
  return Boolean(WASM_COMPILE_CACHE_TRACE) || (NODE_DEBUG !== undefined && /\bwasm-compile-cache\b|\*/i.test(NODE_DEBUG))
}

/**
 * @param {{engine: string, reason: string}} choice as ./verdicts.js gives it
 * @param {number} bytes how many the module has, as far as that is known
 * @param {string} source
 */
function tell({ engine, reason }, bytes, source) {
  if (isHeard('verdict')) require('../events/events.js').emit({ name: 'verdict', dur: 0, source, bytes, engine, reason })
}

module.exports = { isHeard, tell }
