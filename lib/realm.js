'use strict'

// The built-in WebAssembly of this realm, and who stands in its place.
//
// Owns: one record on the realm's global object, shared by every copy and version of this package that is loaded in
// it. A copy that is loaded after another one's install() would otherwise take that one's namespace for the built-in.

const KEY = Symbol.for('wasm-compile-cache.realm')

if (globalThis[KEY] === undefined) {
  const builtin = globalThis.WebAssembly
  if (typeof builtin !== 'object' || builtin === null) {
    const message = 'There is no WebAssembly here (node --jitless, or --noexpose-wasm): wasm-compile-cache has nothing to stand in for'
    throw Object.assign(new Error(message), { code: 'ERR_WASM_NO_WEBASSEMBLY' })
  }
  const interfaces = Object.entries(Object.getOwnPropertyDescriptors(builtin)).filter(([, { value }]) => value?.prototype)
  const parents = interfaces.map(([name, { value }]) => [name, Object.getPrototypeOf(value.prototype)])
  // `installed`: the namespaces that were put in the built-in's place, the one in force last. `parents`: what the
  // built-in's prototypes inherit from while none is (see ./install.js).
  const record = { builtin, installed: [], parents: Object.fromEntries(parents) }
  Object.defineProperty(globalThis, KEY, { value: record })
}

module.exports = globalThis[KEY]
