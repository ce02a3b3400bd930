'use strict'

// The native addon and what it shares with JavaScript.
//
// Owns: the arena (arguments and results of calls) with its typed views, and the built-ins of this realm, captured here
// before install() or anybody else can replace them.
//
// Value number k of a call lies at byte 16 * k of the arena: I32[4 * k], F32[4 * k], F64[2 * k], I64[2 * k]; a function
// reference as an unsigned integer below 2^53, low half first, in U32[4 * k] and U32[4 * k + 1]; an externref as ../api/slab.js
// has it. U32[FAILED] is 1 after a call that failed.

const { isSharedArrayBuffer } = require('node:util').types

const { builtin } = require('./realm.js')
const native = require('./addon.js')
const { shared } = require('./copies.js')
const { configure } = require('../cache/environment.js')
const faults = require('./faults.js')

const { apply } = Reflect

// When the registry of modules is reset (Jest does it for every test file), this file is loaded again, but the addon
// stays: all copies share the arena, and what native calls back for an exception is the group's own copy.
const ARENA = Symbol.for('wasm-compile-cache.arena')
const arena = native[ARENA] ?? new ArrayBuffer(16384)

const memoryGrow = builtin.Memory.prototype.grow
const getter = (prototype, name) => Object.getOwnPropertyDescriptor(prototype, name).get
const memoryBuffer = getter(builtin.Memory.prototype, 'buffer')
const lengths = [ArrayBuffer, SharedArrayBuffer].map(({ prototype }) => getter(prototype, 'byteLength'))

/** The length of a Memory in bytes, whatever a program has done to the prototypes: native relies on it. */
function memoryLength(memory) {
  const buffer = apply(memoryBuffer, memory, [])
  return apply(lengths[+isSharedArrayBuffer(buffer)], buffer, [])
}

const { wait: atomicsWait, notify } = Atomics

// memory.atomic.wait32 and wait64: 0 "ok", 1 "not-equal", 2 "timed-out" (core, 4.4.7). A 64-bit value comes in halves.
const outcomes = { ok: 0, 'not-equal': 1, 'timed-out': 2 }
const wait = (buffer, address, bits, low, high, timeout) =>
  outcomes[
    bits === 32
      ? atomicsWait(new Int32Array(buffer), address / 4, low | 0, timeout)
      : atomicsWait(new BigInt64Array(buffer), address / 8, (BigInt(high | 0) << 32n) | BigInt(low), timeout)
  ]

const { CompileError, LinkError, RuntimeError, Exception } = builtin

if (native[ARENA] === undefined) {
  native.init({
    arena,
    CompileError,
    LinkError,
    RuntimeError,
    memoryGrow: (memory, pages) => apply(memoryGrow, memory, [pages]),
    memoryLength,
    memoryWait: (memory, address, bits, low, high, timeout) =>
      wait(apply(memoryBuffer, memory, []), address, bits, low, high, timeout),
    memoryNotify: (memory, address, count) => notify(new Int32Array(apply(memoryBuffer, memory, [])), address / 4, count),
    exceptionFromWasm: (owner, number, tag) => owner.exceptionFromWasm(number, tag),
    // The number of the exception of wasm that an import's adapter threw, 0 if it threw none. One frame of ours, because
    // V8 notes ten.
    callImport: (owner, adapter) => {
      try {
        adapter()
        return 0
      } catch (error) {
        return owner.importThrew(error)
      }
    },
    fault: (owner, words, traced) => owner.fault(words, traced),
    pass: (owner, error) => owner.pass(error),
    holdUnit: (owner, unit) => owner.hold(unit),
    // Calls `visit` on deeper and deeper frames, until V8 allows no deeper one.
    descend: function descend(visit) {
      visit()
      descend(visit)
    },
  })
  Object.defineProperty(native, ARENA, { value: arena })
  faults.install(native)
}
configure(native)

// Modules of our own go to every realm, and some may compile none.
const HelperModule = shared('the Module of helpers', () => builtin.Module)
const helperModule = (bytes) => new HelperModule(bytes)

module.exports = {
  native,
  FAILED: 4095,
  builtin,
  classes: { CompileError, LinkError, RuntimeError, Exception },
  helperModule,
  memoryGrow,
  memoryBuffer,
  // Enough values for any signature: V8 limits a function to 1000 parameters and 1000 results.
  I32: new Int32Array(arena),
  U32: new Uint32Array(arena),
  F32: new Float32Array(arena),
  F64: new Float64Array(arena),
  I64: new BigInt64Array(arena),
}
