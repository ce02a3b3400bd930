'use strict'

// What a command has found out of a module, for programs that have us in the built-in's place: they know it from their first run
// on.

const { sample } = require('../front/sample.js')
const { write } = require('../front/verdicts.js')
const { grounds, groundsOfInterface } = require('../process/grounds.js')

/** What a module's interface says; V8 reads it in no time. */
function ofInterface(bytes) {
  try {
    const module = new WebAssembly.Module(bytes)
    return groundsOfInterface(WebAssembly.Module.imports(module), WebAssembly.Module.exports(module))
  } catch {
    // It is one that this Node does not take.
    return undefined
  }
}

/**
 * @param {object} found as the process that judges modules would find it
 * @param {{bytes: Buffer, name: string, partition: string}} module
 */
function judge(found, { bytes, name, partition }) {
  const sampled = sample(bytes.length, (from, to) => bytes.subarray(from, to), { partition, standard: '' })
  const verdict = ofInterface(bytes) ?? grounds(found, { size: bytes.length })
  write([sampled], { source: name, partition, size: bytes.length, ...verdict })
}

module.exports = { judge }
