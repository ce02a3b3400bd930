'use strict'

// What is kept of a realm: its built-in WebAssembly, and who stands in its place.

const { shared } = require('./copies.js')

/** The WebAssembly of a vm context that ./contexts.js has seen -> the record of that realm. */
const records = shared('realms', () => new WeakMap())

/**
 * @param {object} original what globalThis.WebAssembly was
 * @param {object} [builtin] what was in it
 * @param {boolean} [compiles] false where V8 was told to compile no WebAssembly
 */
function createRecord(original, builtin = original, compiles = true) {
  const interfaces = Object.entries(Object.getOwnPropertyDescriptors(builtin)).filter(([, { value }]) => value?.prototype)
  const parents = interfaces.map(([name, { value }]) => [name, Object.getPrototypeOf(value.prototype)])
  // `installed`: the namespaces that were put in the built-in's place, the one in force last. `parents`: what the
  // built-in's prototypes inherit from while none is (see ./inheritance.js).
  return { original, builtin, installed: [], parents: Object.fromEntries(parents), compiles }
}

module.exports = { createRecord, records }
