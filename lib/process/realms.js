'use strict'

// What is kept of a realm: its built-in WebAssembly, and what was installed in its place.
//
// May not know native code: ../front/namespace.js comes before any is loaded.

const {
  state: { realms: records },
} = require('../front/state.js')

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
  // `installed`: the namespaces that were put in the built-in's place, the one in force last. `isAuto`: that one is
  // ../front/namespace.js, whose classes have the built-in's prototypes; `front`: what that has filled.
  return { original, builtin, installed: [], parents: parentsOf(builtin), compiles, isAuto: false, front: undefined }
}

module.exports = { createRecord, parentsOf, records }
