'use strict'

// The event of a choice, while nothing of this package's engine is loaded: only where somebody listens.

const diagnostics = require('node:diagnostics_channel')

const isHeard = () =>
  diagnostics.hasSubscribers('wasm-compile-cache:verdict') || /\bwasm-compile-cache\b|\*/i.test(process.env.NODE_DEBUG ?? '')

/**
 * @param {{engine: string, reason: string}} choice as ./verdicts.js gives it
 * @param {number} bytes how many the module has, as far as that is known
 * @param {string} source
 */
function tell({ engine, reason }, bytes, source) {
  if (isHeard()) require('../events/events.js').emit({ name: 'verdict', dur: 0, source, bytes, engine, reason })
}

module.exports = { isHeard, tell }
