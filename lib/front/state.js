'use strict'

// What this thread's fronts (./namespace.js: one a realm) and this package's engine know together. It hangs on a module of
// Node's, because a test runner gives every test file a copy of this package and of `process`.

const util = require('node:util')

const { FUNCTION, IMPORT, firstOf } = require('../api/sections.js')
const { keeping } = require('../process/kept.js')

const KEY = Symbol.for('wasm-compile-cache.front')

/** As ../process/started.js has it, which is in a file that small modules do not need. */
const { environment } = process[Symbol.for('wasm-compile-cache.started')] ?? { environment: process.env }

if (util[KEY] === undefined) {
  const state = {
    /** Whether objects of ours may exist. Until then, all that a program has is the built-in's. */
    isEngaged: false,
    /** Module of the built-in's own -> its bytes, where they were kept: {pool, from, to}. */
    plain: new WeakMap(),
    /** Where bytes are kept, and how much of it is taken: many small modules cost one buffer. */
    pool: new Uint8Array(0),
    taken: 0,
    /** Tables and globals of the program that no instance has met -> the descriptor that they were made of. */
    fresh: keeping(),
    /** Whether JavaScript has a table that instances of ours share: no instance of the built-in's can import it. */
    hasTables: false,
    /** Whether there are, or were, tables of the program's or of the built-in's instances, which those could import. */
    hasOtherTables: false,
    /** Tags of the program, which are the same to both engines, whatever has met them -> the names of their parameters. */
    tags: new WeakMap(),
    /** Whether the user wants the built-in engine for everything: what is to be known then is its code. */
    isBuiltin: environment.WASM_COMPILE_CACHE_ENGINE === 'builtin',
    /** Whether the program suspends stacks (JSPI), which the built-in engine alone can. */
    isSuspending: false,
    /** What it suspends by: functions that are imported so. */
    suspending: new WeakSet(),
    /** The built-in WebAssembly of a vm context that ../process/contexts.js has seen -> the record of that realm. */
    realms: new WeakMap(),
  }
  Object.defineProperty(util, KEY, { value: state })
}

const state = util[KEY]

const POOL = 32 * 1024 // bytes

/** Sections, in their order: what has the first may meet objects of ours. */
const LINKED = [IMPORT, FUNCTION]

/**
 * Notes a module of the built-in's own.
 *
 * @param {object} module
 * @param {Uint8Array} [bytes] what it was made of, for an instance that has to share what only instances of ours share
 * @param {number} [length] how many there are, where `bytes` is the program's own, which may say otherwise
 */
function keep(module, bytes, length = bytes?.length) {
  // Without imports it shares nothing, and what has functions is not made for its imports alone.
  if (bytes === undefined || firstOf(bytes, LINKED, length) === FUNCTION) {
    state.plain.set(module, undefined)
    return
  }
  if (state.taken + length > state.pool.length) {
    state.pool = new Uint8Array(Math.max(length, POOL))
    state.taken = 0
  }
  const { pool, taken: from } = state
  pool.set(bytes, from)
  state.taken = from + length
  state.plain.set(module, { pool, from, to: state.taken })
}

/** What a module of the built-in's own was made of; undefined where that was not kept. */
function keptOf(module) {
  const kept = state.plain.get(module)
  return kept?.pool.subarray(kept.from, kept.to)
}

module.exports = { keep, keptOf, state }
