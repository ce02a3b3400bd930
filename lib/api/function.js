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
const { classes, native, FAILED, I32, U32, F32, F64 } = require('../process/native.js')
const { parseSignature } = require('./signature.js')
const { leaving } = require('./stack.js')
const { INCOMPATIBLE, read, readAll, toRaw, toRawAll, write, writeAll } = require('./value.js')
const { SLOPPY } = require('./webidl.js')

const { wait } = Atomics
const { RuntimeError } = classes

/**
 * Function object -> {group, unit, address, signature, imported}. Ephemerons: what keeps the function keeps its unit.
 * `imported`: the function of JavaScript's that an instance imported and this one is; undefined for others.
 */
const records = shared('functions', () => new WeakMap())

/** What calls native -> the function object that it is for. */
const functions = new WeakMap()

/** ToNumber of an argument; unary plus throws for BigInt and Symbol, as ToNumber does. */
function toNumber(value, call) {
  try {
    return +value
  } catch (error) {
    throw leaving(error, functions.get(call)) // node-do-not-add-exception-line
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

const CALLS = new Map([
  [
    ':',
    (call, unit) =>
      ({
        wasmFunction: () => {
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
        },
      }).wasmFunction,
  ],
  [
    'i:',
    (call, unit) =>
      ({
        wasmFunction: (a) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          I32[0] = a
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
        },
      }).wasmFunction,
  ],
  [
    'ii:',
    (call, unit) =>
      ({
        wasmFunction: (a, b) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          if (typeof b !== 'number') b = toNumber(b, call)
          I32[0] = a
          I32[4] = b
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
        },
      }).wasmFunction,
  ],
  [
    'iii:',
    (call, unit) =>
      ({
        wasmFunction: (a, b, c) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          if (typeof b !== 'number') b = toNumber(b, call)
          if (typeof c !== 'number') c = toNumber(c, call)
          I32[0] = a
          I32[4] = b
          I32[8] = c
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
        },
      }).wasmFunction,
  ],
  [
    'iiii:',
    (call, unit) =>
      ({
        wasmFunction: (a, b, c, d) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          if (typeof b !== 'number') b = toNumber(b, call)
          if (typeof c !== 'number') c = toNumber(c, call)
          if (typeof d !== 'number') d = toNumber(d, call)
          I32[0] = a
          I32[4] = b
          I32[8] = c
          I32[12] = d
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
        },
      }).wasmFunction,
  ],
  [
    ':i',
    (call, unit) =>
      ({
        wasmFunction: () => {
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
          return I32[0]
        },
      }).wasmFunction,
  ],
  [
    'i:i',
    (call, unit) =>
      ({
        wasmFunction: (a) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          I32[0] = a
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
          return I32[0]
        },
      }).wasmFunction,
  ],
  [
    'ii:i',
    (call, unit) =>
      ({
        wasmFunction: (a, b) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          if (typeof b !== 'number') b = toNumber(b, call)
          I32[0] = a
          I32[4] = b
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
          return I32[0]
        },
      }).wasmFunction,
  ],
  [
    'iii:i',
    (call, unit) =>
      ({
        wasmFunction: (a, b, c) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          if (typeof b !== 'number') b = toNumber(b, call)
          if (typeof c !== 'number') c = toNumber(c, call)
          I32[0] = a
          I32[4] = b
          I32[8] = c
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
          return I32[0]
        },
      }).wasmFunction,
  ],
  [
    'iiii:i',
    (call, unit) =>
      ({
        wasmFunction: (a, b, c, d) => {
          if (typeof a !== 'number') a = toNumber(a, call)
          if (typeof b !== 'number') b = toNumber(b, call)
          if (typeof c !== 'number') c = toNumber(c, call)
          if (typeof d !== 'number') d = toNumber(d, call)
          I32[0] = a
          I32[4] = b
          I32[8] = c
          I32[12] = d
          call(unit) // node-do-not-add-exception-line
          if (U32[FAILED] !== 0) stop()
          return I32[0]
        },
      }).wasmFunction,
  ],
])

const NUMBERS = {
  i: { view: I32, step: 4 },
  f: { view: F32, step: 4 },
  d: { view: F64, step: 2 },
}

// i32, f32 and f64 in any number, with one such result or none: half the general loop's time, or less.
function callWithNumbers(call, unit, { params, results }) {
  const { length } = params
  const views = params.map((letter) => NUMBERS[letter].view)
  const places = params.map((letter, k) => NUMBERS[letter].step * k)
  const absent = params.map(() => undefined)
  const result = results.length === 1 ? NUMBERS[results[0]].view : undefined
  const wasmFunction = (...values) => {
    if (values.length < length) values = values.concat(absent)
    for (let k = 0; k < length; k++) {
      if (typeof values[k] !== 'number') values[k] = toNumber(values[k], call)
    }
    for (let k = 0; k < length; k++) views[k][places[k]] = values[k]
    call(unit) // node-do-not-add-exception-line
    if (U32[FAILED] !== 0) stop()
    return result === undefined ? undefined : result[0]
  }
  return wasmFunction
}

function coerceThoroughly(letter, value, call, group) {
  try {
    return toRaw(letter, value, group)
  } catch (error) {
    throw leaving(error, functions.get(call)) // node-do-not-add-exception-line
  }
}

/** As {@link toRaw}, of an argument. */
const coerce = (letter, value, call, group) => (letter === 'r' ? value : coerceThoroughly(letter, value, call, group))

// One result is itself, none undefined, several an Array.
function readResults(results, group) {
  if (results.length === 0) return undefined
  return results.length === 1 ? read(results[0], 0, group) : readAll(results, group)
}

// Other types, references mostly: by arity alone.
const BY_ARITY = [
  (call, unit, _, results) =>
    ({
      wasmFunction: () => {
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return readResults(results, unit.group)
      },
    }).wasmFunction,
  (call, unit, [p], results) =>
    ({
      wasmFunction: (a) => {
        a = coerce(p, a, call, unit.group)
        write(p, 0, a, unit.group)
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return readResults(results, unit.group)
      },
    }).wasmFunction,
  (call, unit, [p, q], results) =>
    ({
      wasmFunction: (a, b) => {
        a = coerce(p, a, call, unit.group)
        b = coerce(q, b, call, unit.group)
        write(p, 0, a, unit.group)
        write(q, 1, b, unit.group)
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return readResults(results, unit.group)
      },
    }).wasmFunction,
  (call, unit, [p, q, r], results) =>
    ({
      wasmFunction: (a, b, c) => {
        a = coerce(p, a, call, unit.group)
        b = coerce(q, b, call, unit.group)
        c = coerce(r, c, call, unit.group)
        write(p, 0, a, unit.group)
        write(q, 1, b, unit.group)
        write(r, 2, c, unit.group)
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return readResults(results, unit.group)
      },
    }).wasmFunction,
  (call, unit, [p, q, r, s], results) =>
    ({
      wasmFunction: (a, b, c, d) => {
        a = coerce(p, a, call, unit.group)
        b = coerce(q, b, call, unit.group)
        c = coerce(r, c, call, unit.group)
        d = coerce(s, d, call, unit.group)
        write(p, 0, a, unit.group)
        write(q, 1, b, unit.group)
        write(r, 2, c, unit.group)
        write(s, 3, d, unit.group)
        call(unit) // node-do-not-add-exception-line
        if (U32[FAILED] !== 0) stop()
        return readResults(results, unit.group)
      },
    }).wasmFunction,
]

// "Call an Exported Function"
function callBySignature(call, unit, { params, results, opaque }) {
  // 1. If a parameter or result is v128 or exnref, throw a TypeError (before any argument is looked at).
  if (opaque) {
    return () => {
      throw leaving(new TypeError(INCOMPATIBLE), functions.get(call)) // node-do-not-add-exception-line
    }
  }
  if (params.length < BY_ARITY.length) return BY_ARITY[params.length](call, unit, params, results)
  const { group } = unit
  const coerceAll = (values) => {
    try {
      return toRawAll(params, values, group)
    } catch (error) {
      throw leaving(error, functions.get(call)) // node-do-not-add-exception-line
    }
  }
  const wasmFunction = (...values) => {
    writeAll(params, coerceAll(values), group)
    call(unit) // node-do-not-add-exception-line
    if (U32[FAILED] !== 0) stop()
    return readResults(results, group)
  }
  return wasmFunction
}

/** "Create a new Exported Function". Unit.functionAt sees to it that there is one for an address. */
function createExportedFunction(unit, address) {
  const { group } = unit
  const signature = parseSignature(native.functionSignature(group.handle, address))
  const call = native.functionCreate(group.handle, address)
  const create = CALLS.get(signature.text) ?? (/^[ifd]*:[ifd]?$/.test(signature.text) ? callWithNumbers : callBySignature)
  const exported = create(call, unit, signature)
  Object.defineProperties(exported, {
    length: { value: signature.params.length, configurable: true },
    name: { value: String(native.functionIndex(group.handle, address)), configurable: true },
    ...SLOPPY,
  })
  functions.set(call, exported)
  const imported = unit.imports[native.functionImport(group.handle, address)]
  records.set(exported, { group, unit, address, signature, imported })
  return exported
}

module.exports = { createExportedFunction, describeFunction }
