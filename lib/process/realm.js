'use strict'

// This realm's record. Copies and versions of this package that are loaded in one realm share it: one that is loaded after
// another one's install() would otherwise take that one's namespace for the built-in. ../../register.js makes it where it
// waits for WebAssembly to be used.

const { createRecord, records } = require('./realms.js')

const KEY = Symbol.for('wasm-compile-cache.realm')

function recordOfThisRealm() {
  const builtin = globalThis.WebAssembly
  const known = globalThis[KEY] ?? records.get(builtin)
  if (known !== undefined) return known
  if (typeof builtin !== 'object' || builtin === null) {
    const message =
      'There is no WebAssembly here (node --jitless, or --noexpose-wasm): wasm-compile-cache has nothing to stand in for'
    throw Object.assign(new Error(message), { code: 'ERR_WASM_NO_WEBASSEMBLY' })
  }
  const record = createRecord(builtin)
  Object.defineProperty(globalThis, KEY, { value: record })
  return record
}

module.exports = recordOfThisRealm()
