'use strict'

// Calls of exported function objects (JavaScript to wasm). The other way: ./adapter.js.
//
// The closures below are written out by arity because they are the hottest JavaScript of the package: a loop over
// the signature costs several times the native call it prepares. They hold for i32 parameters with one i32 result or
// none; everything else takes the loop. A profiler shows the name that a closure has in this text.
//
// Invariant: all coercions of a call come before its first write to the arena, and nothing of the user's runs between
// that write and the call, or between the call and the last read.
//
// Invariant: a frame of this file below one of ./adapter.js or ./stack.js is an exported function's, and stands for the
// wasm frames of its call (./stack.js).
//
// Invariant: the unit is an argument of every native call. Native does not read it, but arguments are on the stack,
// where the collector sees them, so that a unit (and with it its group, and the imports that native holds weakly)
// outlives its last wasm frame, even when the optimizer has inlined the closure and nothing else holds it.

const { shared } = require('../process/copies.js')
const { keeping } = require('../process/kept.js')
const { classes, native, FAILED, I32, U32, F32, F64 } = require('../process/native.js')
const { parseSignature } = require('./signature.js')
const { leaving } = require('./stack.js')
const { INCOMPATIBLE, read, readAll, toRaw, toRawAll, write, writeAll } = require('./value.js')
const { SLOPPY } = require('./webidl.js')

const { wait } = Atomics
const { defineProperty } = Reflect
const { RuntimeError } = classes

/**
 * Function object -> {group, unit, address, signature, imported}. What keeps the function keeps its unit.
 * `imported`: the function of JavaScript's that an instance imported and this one is; undefined for others.
 */
const records = shared('functions', keeping)

/** ToNumber of an argument; unary plus throws for BigInt and Symbol, as ToNumber does. */
function toNumber(value, wasmFunction) {
  try {
    return +value
  } catch (error) {
    throw leaving(error, wasmFunction) // node-do-not-add-exception-line
  }
}

const describeFunction = (value) => records.get(value)

// A call that failed comes back only where its exception was dropped, because the thread is to stop. V8 ends JavaScript
// at the next point where it looks for that, and until there nothing of the caller's may run. The request may be on its
// way still: waiting is such a point, too.
function stop() {
  wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10_000)
  throw new RuntimeError('the thread is to stop')
}

/** What calls a function natively: made when it is called first, for of many that are exported few are. */
function connect(wasmFunction) {
  const { unit, address } = describeFunction(wasmFunction)
  return native.functionCreate(unit.group.handle, address, unit.loose) ?? stop()
}

const CALLS = new Map([
  [
    ':',
    (unit, call, wasmFunction) =>
      (wasmFunction = () => {
        call ??= connect(wasmFunction)
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
      }),
  ],
  [
    'i:',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        I32[0] = a
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
      }),
  ],
  [
    'ii:',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a, b) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        if (typeof b !== 'number') b = toNumber(b, wasmFunction)
        I32[0] = a
        I32[4] = b
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
      }),
  ],
  [
    'iii:',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a, b, c) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        if (typeof b !== 'number') b = toNumber(b, wasmFunction)
        if (typeof c !== 'number') c = toNumber(c, wasmFunction)
        I32[0] = a
        I32[4] = b
        I32[8] = c
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
      }),
  ],
  [
    'iiii:',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a, b, c, d) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        if (typeof b !== 'number') b = toNumber(b, wasmFunction)
        if (typeof c !== 'number') c = toNumber(c, wasmFunction)
        if (typeof d !== 'number') d = toNumber(d, wasmFunction)
        I32[0] = a
        I32[4] = b
        I32[8] = c
        I32[12] = d
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
      }),
  ],
  [
    ':i',
    (unit, call, wasmFunction) =>
      (wasmFunction = () => {
        call ??= connect(wasmFunction)
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return I32[0]
      }),
  ],
  [
    'i:i',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        I32[0] = a
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return I32[0]
      }),
  ],
  [
    'ii:i',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a, b) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        if (typeof b !== 'number') b = toNumber(b, wasmFunction)
        I32[0] = a
        I32[4] = b
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return I32[0]
      }),
  ],
  [
    'iii:i',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a, b, c) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        if (typeof b !== 'number') b = toNumber(b, wasmFunction)
        if (typeof c !== 'number') c = toNumber(c, wasmFunction)
        I32[0] = a
        I32[4] = b
        I32[8] = c
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return I32[0]
      }),
  ],
  [
    'iiii:i',
    (unit, call, wasmFunction) =>
      (wasmFunction = (a, b, c, d) => {
        call ??= connect(wasmFunction)
        if (typeof a !== 'number') a = toNumber(a, wasmFunction)
        if (typeof b !== 'number') b = toNumber(b, wasmFunction)
        if (typeof c !== 'number') c = toNumber(c, wasmFunction)
        if (typeof d !== 'number') d = toNumber(d, wasmFunction)
        I32[0] = a
        I32[4] = b
        I32[8] = c
        I32[12] = d
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return I32[0]
      }),
  ],
])

const NUMBERS = {
  i: { view: I32, step: 4 },
  f: { view: F32, step: 4 },
  d: { view: F64, step: 2 },
}

// i32, f32 and f64 in any number, with one such result or none: half the general loop's time, or less.
function callWithNumbers(unit, { params, results }) {
  const { length } = params
  let call
  const views = params.map((letter) => NUMBERS[letter].view)
  const places = params.map((letter, k) => NUMBERS[letter].step * k)
  const absent = params.map(() => undefined)
  const result = results.length === 1 ? NUMBERS[results[0]].view : undefined
  const wasmFunction = (...values) => {
    call ??= connect(wasmFunction)
    if (values.length < length) values = values.concat(absent)
    for (let k = 0; k < length; k++) {
      if (typeof values[k] !== 'number') values[k] = toNumber(values[k], wasmFunction)
    }
    for (let k = 0; k < length; k++) views[k][places[k]] = values[k]
    call(unit) // node-do-not-add-exception-line
    if (U32[FAILED] !== 0) stop()
    return result === undefined ? undefined : result[0]
  }
  return wasmFunction
}

function coerceThoroughly(letter, value, wasmFunction, group) {
  try {
    return toRaw(letter, value, group)
  } catch (error) {
    throw leaving(error, wasmFunction) // node-do-not-add-exception-line
  }
}

/** As {@link toRaw}, of an argument. */
const coerce = (letter, value, wasmFunction, group) =>
  letter === 'r' ? value : coerceThoroughly(letter, value, wasmFunction, group)

// One result is itself, none undefined, several an Array.
function readResults(results, group) {
  if (results.length === 0) return undefined
  return results.length === 1 ? read(results[0], 0, group) : readAll(results, group)
}

// Other types, references mostly: by arity alone.
const BY_ARITY = [
  (unit, _, results, call, wasmFunction) =>
    (wasmFunction = () => {
      call ??= connect(wasmFunction)
      call(unit) // node-do-not-add-exception-line
      if (U32[FAILED] !== 0) stop()
      return readResults(results, unit.group)
    }),
  (unit, [p], results, call, wasmFunction) =>
    (wasmFunction = (a) => {
      call ??= connect(wasmFunction)
      a = coerce(p, a, wasmFunction, unit.group)
      write(p, 0, a, unit.group)
      call(unit) // node-do-not-add-exception-line
      if (U32[FAILED] !== 0) stop()
      return readResults(results, unit.group)
    }),
  (unit, [p, q], results, call, wasmFunction) =>
    (wasmFunction = (a, b) => {
      call ??= connect(wasmFunction)
      a = coerce(p, a, wasmFunction, unit.group)
      b = coerce(q, b, wasmFunction, unit.group)
      write(p, 0, a, unit.group)
      write(q, 1, b, unit.group)
      call(unit) // node-do-not-add-exception-line
      if (U32[FAILED] !== 0) stop()
      return readResults(results, unit.group)
    }),
  (unit, [p, q, r], results, call, wasmFunction) =>
    (wasmFunction = (a, b, c) => {
      call ??= connect(wasmFunction)
      a = coerce(p, a, wasmFunction, unit.group)
      b = coerce(q, b, wasmFunction, unit.group)
      c = coerce(r, c, wasmFunction, unit.group)
      write(p, 0, a, unit.group)
      write(q, 1, b, unit.group)
      write(r, 2, c, unit.group)
      call(unit) // node-do-not-add-exception-line
      if (U32[FAILED] !== 0) stop()
      return readResults(results, unit.group)
    }),
  (unit, [p, q, r, s], results, call, wasmFunction) =>
    (wasmFunction = (a, b, c, d) => {
      call ??= connect(wasmFunction)
      a = coerce(p, a, wasmFunction, unit.group)
      b = coerce(q, b, wasmFunction, unit.group)
      c = coerce(r, c, wasmFunction, unit.group)
      d = coerce(s, d, wasmFunction, unit.group)
      write(p, 0, a, unit.group)
      write(q, 1, b, unit.group)
      write(r, 2, c, unit.group)
      write(s, 3, d, unit.group)
      call(unit) // node-do-not-add-exception-line
      if (U32[FAILED] !== 0) stop()
      return readResults(results, unit.group)
    }),
]

// "Call an Exported Function"
function callBySignature(unit, { params, results, opaque }) {
  // 1. If a parameter or result is v128 or exnref, throw a TypeError (before any argument is looked at).
  if (opaque) {
    const wasmFunction = () => {
      throw leaving(new TypeError(INCOMPATIBLE), wasmFunction) // node-do-not-add-exception-line
    }
    return wasmFunction
  }
  if (params.length < BY_ARITY.length) return BY_ARITY[params.length](unit, params, results)
  const { group } = unit
  let call
  const coerceAll = (values) => {
    try {
      return toRawAll(params, values, group)
    } catch (error) {
      throw leaving(error, wasmFunction) // node-do-not-add-exception-line
    }
  }
  const wasmFunction = (...values) => {
    call ??= connect(wasmFunction)
    writeAll(params, coerceAll(values), group)
    call(unit) // node-do-not-add-exception-line
    if (U32[FAILED] !== 0) stop()
    return readResults(results, group)
  }
  return wasmFunction
}

/** By the number that native has for it. */
const signatures = []

/** There are fewer functions in a module; native's numbers have the function's index below, and its signature's number above. */
const INDICES = 2 ** 21

const NAME = { __proto__: null, value: '', configurable: true }
const LENGTH = { __proto__: null, value: 0, configurable: true }
const OF_SLOPPY = Object.entries(SLOPPY)

/** "Create a new Exported Function". Unit.functionAt sees to it that there is one for an address. */
function createExportedFunction(unit, address) {
  const { handle } = unit.group
  const kind = native.functionKind(handle, address)
  const number = Math.floor(kind / INDICES)
  const signature = (signatures[number] ??= createSignature(native.functionSignature(handle, address)))
  const exported = signature.create(unit, signature)
  const { length } = signature.params
  if (exported.length !== length) {
    LENGTH.value = length
    defineProperty(exported, 'length', LENGTH)
  }
  NAME.value = String(kind % INDICES)
  defineProperty(exported, 'name', NAME)
  for (const [key, descriptor] of OF_SLOPPY) defineProperty(exported, key, descriptor)
  const isOwn = address >= unit.from && address < unit.to
  const imported = isOwn ? undefined : unit.imports[native.functionImport(handle, address)]
  records.set(exported, { group: unit.group, unit, address, signature, imported })
  return exported
}

/** What is known of a signature, and how its functions are made. */
function createSignature(text) {
  const signature = parseSignature(text)
  const byText = CALLS.get(text)
  const loop = /^[ifd]*:[ifd]?$/.test(text) ? callWithNumbers : callBySignature
  return { ...signature, create: byText === undefined ? loop : (unit) => byText(unit) }
}

module.exports = { createExportedFunction, describeFunction }
