'use strict'

// This realm's record. Copies and versions of this package that are loaded in one realm share it: one that is loaded after
// another one's install() would otherwise take that one's namespace for the built-in.

const { createRecord, records } = require('./realms.js')

const KEY = Symbol.for('wasm-compile-cache.realm')

function recordOfThisRealm() {
  const known = globalThis[KEY] ?? records.get(globalThis.WebAssembly)
  if (known !== undefined) return known
  const record = createRecord(globalThis.WebAssembly)
  Object.defineProperty(globalThis, KEY, { value: record })
  return record
}

module.exports = recordOfThisRealm()
