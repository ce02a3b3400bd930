'use strict'

// Adapters of imports (wasm to JavaScript). Native code calls an adapter, which reads the arguments from the arena and
// writes the result there. They are written out by arity for the reason given in ./function.js.

const { I32 } = require('../process/native.js')
const { INCOMPATIBLE, read, readAll, toRaw, toRawAll, write, writeAll } = require('./value.js')

const { apply } = Reflect

// A call of a plain variable has an undefined receiver, as "run a host function" wants.
const ADAPTERS = new Map([
  [
    ':',
    (fn) => () => {
      fn()
    },
  ],
  [
    'i:',
    (fn) => () => {
      fn(I32[0])
    },
  ],
  [
    'ii:',
    (fn) => () => {
      fn(I32[0], I32[4])
    },
  ],
  [
    'iii:',
    (fn) => () => {
      fn(I32[0], I32[4], I32[8])
    },
  ],
  [
    'iiii:',
    (fn) => () => {
      fn(I32[0], I32[4], I32[8], I32[12])
    },
  ],
  [
    ':i',
    (fn) => () => {
      const result = fn()
      I32[0] = typeof result === 'number' ? result : +result
    },
  ],
  [
    'i:i',
    (fn) => () => {
      const result = fn(I32[0])
      I32[0] = typeof result === 'number' ? result : +result
    },
  ],
  [
    'ii:i',
    (fn) => () => {
      const result = fn(I32[0], I32[4])
      I32[0] = typeof result === 'number' ? result : +result
    },
  ],
  [
    'iii:i',
    (fn) => () => {
      const result = fn(I32[0], I32[4], I32[8])
      I32[0] = typeof result === 'number' ? result : +result
    },
  ],
  [
    'iiii:i',
    (fn) => () => {
      const result = fn(I32[0], I32[4], I32[8], I32[12])
      I32[0] = typeof result === 'number' ? result : +result
    },
  ],
])

const NONE = ''

function give(letter, value, group) {
  if (letter !== NONE) write(letter, 0, toRaw(letter, value, group), group)
}

// Other types, references mostly: by arity alone. `result` is NONE or one letter.
const BY_ARITY = [
  (fn, params, result, group) => () => {
    give(result, fn(), group)
  },
  (fn, [a], result, group) =>
    () => {
      give(result, fn(read(a, 0, group)), group)
    },
  (fn, [a, b], result, group) =>
    () => {
      give(result, fn(read(a, 0, group), read(b, 1, group)), group)
    },
  (fn, [a, b, c], result, group) =>
    () => {
      give(result, fn(read(a, 0, group), read(b, 1, group), read(c, 2, group)), group)
    },
  (fn, [a, b, c, d], result, group) =>
    () => {
      give(result, fn(read(a, 0, group), read(b, 1, group), read(c, 2, group), read(d, 3, group)), group)
    },
]

// "Run a host function"
function adaptBySignature(fn, { params, results, opaque }, group) {
  // 1. If a parameter or result is v128 or exnref, throw a TypeError.
  if (opaque) {
    return () => {
      throw new TypeError(INCOMPATIBLE)
    }
  }
  if (params.length < BY_ARITY.length && results.length < 2) {
    return BY_ARITY[params.length](fn, params, results[0] ?? NONE, group)
  }
  return () => {
    // 2-4. Arguments by ToJSValue, the call with an undefined receiver.
    const result = apply(fn, undefined, readAll(params, group))
    // 5-7. No result: the value is dropped. One: ToWebAssemblyValue.
    if (results.length === 0) return
    if (results.length === 1) {
      give(results[0], result, group)
      return
    }
    // 8. Several: the whole iterable first, its length checked, then the coercions.
    const values = [...result]
    if (values.length !== results.length) throw new TypeError('multi-return length mismatch')
    writeAll(results, toRawAll(results, values, group), group)
  }
}

/** What native calls for an imported JavaScript function; values of references are those of `group`. */
const createAdapter = (fn, signature, group) => ADAPTERS.get(signature.text)?.(fn) ?? adaptBySignature(fn, signature, group)

module.exports = { createAdapter }
