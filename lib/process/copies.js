'use strict'

// What the copies of this package in a thread share.
//
// There is a copy for every vm context that uses WebAssembly (./contexts.js), and one for every time that a test runner
// resets its registry of modules. An object that one copy made can come to any other, so what is kept of it is kept
// once.

const native = require('./addon.js')

const KEY = Symbol.for('wasm-compile-cache.copies')

if (native[KEY] === undefined) Object.defineProperty(native, KEY, { value: new Map() })
const records = native[KEY]

/**
 * What all copies call by that name.
 *
 * @template T
 * @param {string} name
 * @param {() => T} create makes it, for the copy that is the first to ask
 * @returns {T}
 */
function shared(name, create) {
  if (!records.has(name)) records.set(name, create())
  return records.get(name)
}

module.exports = { shared }
