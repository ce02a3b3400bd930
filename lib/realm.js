'use strict'

// The built-in WebAssembly of this realm, and who stands in its place.
//
// Owns: one record on the realm's global object, shared by every copy and version of this package that is loaded in
// it. A copy that is loaded after another one's install() would otherwise take that one's namespace for the built-in.

const KEY = Symbol.for('wasm-compile-cache.realm')

if (globalThis[KEY] === undefined) {
  // `installed`: the namespaces that were put in the built-in's place, the one in force last.
  Object.defineProperty(globalThis, KEY, { value: { builtin: globalThis.WebAssembly, installed: [] } })
}

module.exports = globalThis[KEY]
