'use strict'

// The engine that __test__/api is about, and modules for it out of text. Every expectation there is the specification's
// and holds for the engine Node has, too: ENGINE=builtin npx ava "__test__/api/*.test.js". What only this package does
// is a test of `ours`, which the built-in skips.

const test = require('ava')
const initWabt = require('wabt')

const onBuiltin = process.env.ENGINE === 'builtin'
const builtin = globalThis.WebAssembly
const W = onBuiltin ? builtin : require('../../index.js')
const ours = onBuiltin ? test.skip : test

let wabt
const ready = initWabt().then((library) => {
  wabt = library
})
test.before(() => ready)

function assemble(wat) {
  const module = wabt.parseWat('test.wat', `(module ${wat})`, {
    exceptions: true,
    threads: true,
    extended_const: true,
    tail_call: true,
    memory64: true,
    multi_memory: true,
    relaxed_simd: true,
  })
  try {
    return module.toBinary({}).buffer
  } finally {
    module.destroy()
  }
}

const instantiate = (wat, imports) => new W.Instance(new W.Module(assemble(wat)), imports).exports

const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])

module.exports = { EMPTY, W, assemble, builtin, instantiate, ours, ready }
