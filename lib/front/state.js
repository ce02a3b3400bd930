'use strict'

// What this thread's fronts (./namespace.js: one a realm) and this package's engine know together. It hangs on a module of
// Node's, because a test runner gives every test file a copy of this package and of `process`.

const util = require('node:util')

const KEY = Symbol.for('wasm-compile-cache.front')

if (util[KEY] === undefined) {
  const state = {
    /** Whether objects of ours may exist. Until then, all that a program has is the built-in's. */
    isEngaged: false,
    /** Modules that are the built-in's own. */
    plain: new WeakSet(),
    /** Such a module -> its bytes, for an instance that has to share what only instances of ours share. */
    bytes: new WeakMap(),
    /** Tables, globals and tags of the program that no instance has met -> the descriptor that they were made of. */
    fresh: new WeakMap(),
    /** Whether the program suspends stacks (JSPI), which the built-in engine alone can. */
    isSuspending: false,
    /** The built-in WebAssembly of a vm context that ../process/contexts.js has seen -> the record of that realm. */
    realms: new WeakMap(),
  }
  Object.defineProperty(util, KEY, { value: state })
}

module.exports = util[KEY]
