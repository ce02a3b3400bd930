'use strict'

// What is kept of a realm: its built-in WebAssembly, and what was installed in its place.

const { shared } = require('./copies.js')

/** The WebAssembly of a vm context that ./contexts.js has seen -> the record of that realm. */
const records = shared('realms', () => new WeakMap())

/** What the built-in's prototypes inherit from while nobody is installed (see ../api/inheritance.js). */
function parentsOf(builtin) {
  const interfaces = Object.entries(Object.getOwnPropertyDescriptors(builtin)).filter(([, { value }]) => value?.prototype)
  return Object.fromEntries(interfaces.map(([name, { value }]) => [name, Object.getPrototypeOf(value.prototype)]))
}

/**
 * @param {object} original what globalThis.WebAssembly was
 * @param {object} [builtin] what was in it
 * @param {boolean} [compiles] false where V8 may compile no WebAssembly
 */
function createRecord(original, builtin = original, compiles = true) {
  // `installed`: the namespaces that were put in the built-in's place, the one in force last.
  return { original, builtin, installed: [], parents: parentsOf(builtin), compiles }
}

module.exports = { createRecord, parentsOf, records }
