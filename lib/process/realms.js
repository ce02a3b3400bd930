'use strict'

// What is kept of a realm: its built-in WebAssembly, and what was installed in its place.
//
// May not know native code: ../front/namespace.js comes before any is loaded.

const {
  state: { realms: records },
} = require('../front/state.js')

function readParents(builtin) {
  const interfaces = Object.entries(Object.getOwnPropertyDescriptors(builtin)).filter(([, { value }]) => value?.prototype)
  return Object.fromEntries(interfaces.map(([name, { value }]) => [name, Object.getPrototypeOf(value.prototype)]))
}

/**
 * What the prototypes of a realm's built-in inherit from while nobody is installed (see ../api/inheritance.js). An engine asks
 * when it is loaded; a program without a module of ours has no use for it.
 */
const parentsOf = (record) => (record.parents ??= readParents(record.builtin))

/**
 * @param {object} original what globalThis.WebAssembly was
 * @param {object} [builtin] what was in it
 * @param {boolean} [compiles] false where V8 may compile no WebAssembly
 */
function createRecord(original, builtin = original, compiles = true) {
  // `installed`: the namespaces that were put in the built-in's place, the one in force last. `isAuto`: that one is
  // ../front/namespace.js, whose classes have the built-in's prototypes; `front`: what that has filled.
  return { original, builtin, installed: [], compiles, isAuto: false, front: undefined }
}

module.exports = { createRecord, parentsOf, records }
