'use strict'

// Which engine compiles some bytes, as the options say or as it is known of them (../front/verdicts.js), once this package's
// engine is loaded. ../front/namespace.js asks before.

const events = require('../events/events.js')
const { leaveBytes, note } = require('../front/seen.js')
const kept = require('../front/state.js')
const { choose, forget } = require('../front/verdicts.js')
const { builtin } = require('../process/native.js')
const { compiles } = require('../process/realm.js')
const { revive } = require('../code/revive.js')
const { textOf } = require('../code/standard.js')

/** What is known of some bytes; undefined where they are compiled in a way that cannot be repeated. */
function choiceOf(bytes, { engine, native, standard }) {
  const text = textOf(standard)
  return text === undefined ? undefined : choose(bytes, { ...native, standard: text }, engine === 'builtin' || undefined)
}

/** V8 knows which functions of a module are called whose bytes were left. */
function noteAs(module, bytes, options) {
  const choice = choiceOf(bytes, options)
  if (choice?.isAsked || choice?.isIdle) note(choice.name, module)
}

/** Small modules, and those that import one of these, may have to follow an instance of ours: what they were made of is kept. */
const SMALL = 131072 // bytes
const SHARED = new Set(['table', 'global', 'tag'])

function emit({ engine, reason }, size, source) {
  events.emit({ name: 'verdict', dur: 0, source, bytes: size, engine, reason })
}

const leave = (choice, bytes, { native }, isKept) => leaveBytes(choice, bytes, native, native, isKept)

/**
 * @param {Uint8Array} bytes
 * @param {object} options as ./options.js reads them
 * @returns {object | undefined} the options for this package's engine; undefined where the built-in compiles
 */
function optionsForOurs(bytes, options) {
  const { engine, native } = options
  if (engine === 'ours') return options
  const choice = choiceOf(bytes, options)
  if (choice === undefined) return undefined
  emit(choice, bytes.length, native.source)
  if (choice.engine === 'ours') return { ...options, native: { ...native, cachedOnly: true } }
  if (choice.isAsked) leave(choice, bytes, options, true)
  return undefined
}

/**
 * A module of the built-in engine's, of V8's own code.
 *
 * @param {Uint8Array} bytes for which {@link optionsForOurs} gave nothing
 * @param {object} options as ./options.js reads them
 * @returns {object | undefined} undefined where V8 has to compile
 */
function revived(bytes, options) {
  const choice = compiles ? choiceOf(bytes, options) : undefined
  return choice?.hasCode ? revive(bytes, choice, options.native, builtin) : undefined
}

/** The artifact that was to be there is not: what is known of the module is of no use any more. */
function missed(bytes, options) {
  const choice = choiceOf(bytes, options)
  forget(choice.name)
  leave(choice, bytes, options, false)
}

/** Notes a module of the built-in's own. */
function keep(module, bytes, options = undefined) {
  // It may have been left by this thread, which is not asked again for its name.
  if (options !== undefined && options.engine !== 'ours') noteAs(module, bytes, options)

  const mayFollow = bytes.length < SMALL || builtin.Module.imports(module).some(({ kind }) => SHARED.has(kind))
  kept.keep(module, mayFollow ? bytes : undefined)
  return { module }
}

module.exports = { SMALL, keep, missed, optionsForOurs, revived }
