'use strict'

// Which engine compiles some bytes, as the options say or as it is known of them (../front/verdicts.js), once this package's
// engine is loaded. ../front/namespace.js asks before.

const events = require('../events/events.js')
const { leaveBytes } = require('../front/seen.js')
const kept = require('../front/state.js')
const { choose, forget } = require('../front/verdicts.js')
const { builtin } = require('../process/native.js')

/** Small modules, and those that import one of these, may have to follow an instance of ours: what they were made of is kept. */
const SMALL = 131072 // bytes
const SHARED = new Set(['table', 'global', 'tag'])

function emit({ engine, reason }, size, source) {
  events.emit({ name: 'verdict', dur: 0, source, bytes: size, engine, reason })
}

const leave = (name, bytes, options) => leaveBytes(name, bytes, options.native, options.native)

/**
 * @param {Uint8Array} bytes
 * @param {object} options as ./options.js reads them
 * @returns {object | undefined} the options for this package's engine; undefined where the built-in compiles
 */
function optionsForOurs(bytes, options) {
  const { engine, native, standard } = options
  if (engine === 'ours') return options
  // Imports that the built-in engine resolves itself are nothing that it would have to be told.
  if (engine === 'builtin' || standard !== undefined) return undefined
  const choice = choose(bytes, native)
  emit(choice, bytes.length, native.source)
  if (choice.engine === 'ours') return { ...options, native: { ...native, cachedOnly: true } }
  if (choice.name !== undefined && choice.known === undefined) leave(choice.name, bytes, options)
  return undefined
}

/** The artifact that was to be there is not: what is known of the module is of no use any more. */
function missed(bytes, options) {
  const { name } = choose(bytes, options.native)
  forget(name)
  leave(name, bytes, options)
}

/** Notes a module of the built-in's own. */
function keep(module, bytes) {
  const mayFollow = bytes.length < SMALL || builtin.Module.imports(module).some(({ kind }) => SHARED.has(kind))
  kept.keep(module, mayFollow ? bytes : undefined)
  return { module }
}

module.exports = { keep, missed, optionsForOurs }
