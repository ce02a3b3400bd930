'use strict'

// WebAssembly.Memory. Every linear memory is V8's own, and native asks V8 for its length when that matters.

const { types } = require('node:util')

const { binary, importOf, leb128 } = require('./binary.js')
const { shared } = require('../process/copies.js')
const { native, builtin, classes, helperModule, memoryBuffer, memoryGrow } = require('../process/native.js')
const realm = require('../process/realm.js')
const { leaving } = require('./stack.js')
const { accepts, defineInterface, inheriting, requireNew } = require('./webidl.js')

const { apply } = Reflect
const PAGE = 65536

// Where native cannot see whether V8 guards its memories, several that are alive at once show it
// (crates/engine/src/runtime/guard.rs).
if (!native.hostGuardsMemories()) {
  try {
    native.seeMemories(Array.from({ length: 16 }, () => new Uint8Array(new builtin.Memory({ initial: 1, maximum: 1 }).buffer)))
  } catch {
    // There is no room for them, so it stays unknown, and no code of ours gets a memory.
  }
}

/** Memory object -> its native handle. */
const handles = shared('memories', () => new WeakMap())

/** Memory object -> declared maximum in pages (or undefined), for memories made here for a module. */
const maxima = shared('maxima of memories', () => new WeakMap())

const bufferOf = (memory) => apply(memoryBuffer, memory, [])

function Memory(descriptor) {
  try {
    requireNew(new.target, 'Memory')
    // The built-in reads and checks the descriptor.
    return inheriting(new builtin.Memory(descriptor), this)
  } catch (error) {
    throw leaving(error, Memory) // node-do-not-add-exception-line
  }
}

const own = defineInterface(Memory, 'WebAssembly.Memory', {
  grow(delta) {
    try {
      return apply(memoryGrow, this, [delta])
    } catch (error) {
      throw leaving(error, own.grow) // node-do-not-add-exception-line
    }
  },
  get buffer() {
    try {
      return apply(memoryBuffer, this, [])
    } catch (error) {
      throw leaving(error, own['get buffer']) // node-do-not-add-exception-line
    }
  },
})

// What a newer V8 adds (toFixedLengthBuffer, toResizableBuffer) is the built-in's.
for (const [name, member] of Object.entries(Object.getOwnPropertyDescriptors(builtin.Memory.prototype))) {
  if (Object.hasOwn(Memory.prototype, name)) continue
  const { [name]: forward } = {
    [name]() {
      try {
        return apply(member.value, this, arguments)
      } catch (error) {
        throw leaving(error, forward) // node-do-not-add-exception-line
      }
    },
  }
  Object.defineProperty(Memory.prototype, name, { ...member, value: forward })
}

/** Whether the value is a Memory of any class, copy or realm: the built-in's own brand decides. */
const isMemory = (value) => accepts(memoryBuffer, value)

/** What another thread sent gets our class when it is first used. */
function adopt(memory) {
  if (realm.installed.length > 0 && !realm.isAuto && Object.getPrototypeOf(memory) === builtin.Memory.prototype) {
    Object.setPrototypeOf(memory, Memory.prototype)
  }
}

/** The native handle of a Memory; throws LinkError where it has no guard regions. */
function attachMemory(memory) {
  let handle = handles.get(memory)
  if (handle === undefined) {
    const buffer = bufferOf(memory)
    handle = native.memoryAttach(memory, new Uint8Array(buffer), isShared(buffer), maxima.get(memory) ?? -1)
    handles.set(memory, handle)
    adopt(memory)
  }
  return handle
}

const isShared = (buffer) => types.isSharedArrayBuffer(buffer)

/** A memory that a module defines itself. */
function createMemory({ initial, maximum, shared }, caller) {
  let memory
  try {
    memory = new (realm.isAuto ? builtin : { Memory }).Memory({ initial, maximum, shared })
  } catch {
    throw new RangeError(`${caller}: Out of memory: Cannot allocate Wasm memory for new instance`)
  }
  maxima.set(memory, maximum)
  return memory
}

const probes = shared('modules that import a memory', () => new Map())

/** (module (import "" "" (memory initial maximum))), for the built-in engine; without a maximum where it is undefined. */
function probeOf({ initial, maximum, shared }) {
  const key = `${initial} ${maximum} ${shared}`
  let probe = probes.get(key)
  if (probe === undefined) {
    const type = maximum === undefined ? [0, ...leb128(initial)] : [shared ? 3 : 1, ...leb128(initial), ...leb128(maximum)]
    probe = helperModule(binary(importOf('', '', 'memory', type)))
    probes.set(key, probe)
  }
  return probe
}

// Only an instantiation shows the maximum of a Memory, so the built-in engine is asked to make one.
function checkMaximum(memory, type, subject) {
  if (maxima.has(memory) && maxima.get(memory) <= type.maximum) return
  try {
    new builtin.Instance(probeOf(type), { '': { '': memory } })
  } catch (error) {
    const larger = /larger maximum size (\d+)/.exec(error.message)
    throw new classes.LinkError(
      larger === null
        ? `${subject}: memory import has no maximum limit, expected at most ${type.maximum}`
        : `${subject}: memory import has a larger maximum size ${larger[1]} than the module's declared maximum ${type.maximum}`
    )
  }
}

/** Memories whose addresses have 32 bits. */
const narrow = shared('memories of 32-bit addresses', () => new WeakSet())

// Addresses may have 64 bits: with `index: 'i64'` in Node 22, with `address: 'i64'` from V8 13 on. Such a memory is
// known by its refusal to be imported as another.
function checkAddressType(memory, shared, subject) {
  if (narrow.has(memory) || maxima.has(memory)) return
  try {
    new builtin.Instance(probeOf({ initial: 0, maximum: shared ? 65536 : undefined, shared }), { '': { '': memory } })
  } catch {
    throw new classes.LinkError(`${subject}: cannot import i64 memory as i32`)
  }
  narrow.add(memory)
}

/** Import matching of memory types; throws LinkError. */
function matchMemory(memory, type, subject) {
  const buffer = bufferOf(memory)
  checkAddressType(memory, isShared(buffer), subject)
  const pages = buffer.byteLength / PAGE
  if (pages < type.initial) {
    throw new classes.LinkError(
      `${subject}: memory import has ${pages} pages which is smaller than the declared initial of ${type.initial}`
    )
  }
  const shared = isShared(buffer)
  if (shared !== type.shared) {
    throw new classes.LinkError(`${subject}: mismatch in shared state of memory, declared = ${+type.shared}, imported = ${+shared}`)
  }
  if (type.maximum !== undefined) checkMaximum(memory, type, subject)
}

/** Whether an instance of ours has it. */
const isAttached = (memory) => handles.has(memory)

module.exports = { Memory, attachMemory, createMemory, isAttached, isMemory, matchMemory }
