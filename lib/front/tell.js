'use strict'

// The event of a choice, while nothing of this package's engine is loaded: only where somebody listens.

const diagnostics = require('node:diagnostics_channel')

function isHeard() {
  if (diagnostics.hasSubscribers('wasm-compile-cache:verdict')) return true
  const { NODE_DEBUG } = process.env
  return NODE_DEBUG !== undefined && /\bwasm-compile-cache\b|\*/i.test(NODE_DEBUG)
}

/**
 * @param {{engine: string, reason: string}} choice as ./verdicts.js gives it
 * @param {number} bytes how many the module has, as far as that is known
 * @param {string} source
 */
function tell({ engine, reason }, bytes, source) {
  if (isHeard()) require('../events/events.js').emit({ name: 'verdict', dur: 0, source, bytes, engine, reason })
}

module.exports = { isHeard, tell }
