'use strict'

// ToWebAssemblyValue and ToJSValue, letter by letter (see ./signature.js).
//
// A value on its way to wasm is first coerced to a raw primitive, which may run the user's code, then written into
// the arena, which may not: any code that runs in between may use the arena. Values are written in their order, because
// that makes externrefs of them (./slab.js).

const { I32, U32, F32, F64, I64 } = require('../process/native.js')

const HIGH = 0x100000000

const INCOMPATIBLE = 'type incompatibility when transforming from/to JS'
const NOT_A_FUNCTION = 'function-typed object must be null (if nullable) or a Wasm function object'

/**
 * ToWebAssemblyValue(value, type): a number, a bigint, for a function the integer that stands for it in `group`, and as
 * it is what becomes an externref. Typed array stores do the rest (modulo 2^32, modulo 2^64, rounding to f32), as the
 * specification has it.
 */
function toRaw(letter, value, group) {
  switch (letter) {
    case 'i':
    case 'f':
    case 'd':
      // ToNumber; unary plus throws for BigInt and Symbol, as ToNumber does.
      return typeof value === 'number' ? value : +value
    case 'I':
      return BigInt.asIntN(64, value)
    case 'r':
      return value
    case 'c': {
      if (value === null) return 0
      const address = group.addressOf(value)
      if (address === undefined) throw new TypeError(INCOMPATIBLE)
      return address
    }
    default:
      throw new TypeError(INCOMPATIBLE)
  }
}

/** Writes value k of the arena. */
function write(letter, k, raw, group) {
  switch (letter) {
    case 'i':
      I32[4 * k] = raw
      break
    case 'I':
      I64[2 * k] = raw
      break
    case 'f':
      F32[4 * k] = raw
      break
    case 'd':
      F64[2 * k] = raw
      break
    case 'r':
      group.references.put(k, raw)
      break
    default:
      U32[4 * k] = raw
      U32[4 * k + 1] = raw / HIGH
  }
}

/** ToJSValue of a function reference. */
function functionToJS(letter, raw, group) {
  if (letter !== 'c') throw new TypeError(INCOMPATIBLE)
  return raw === 0 ? null : group.functionAt(raw)
}

/** ToJSValue of value k of the arena. Runs none of the user's code. */
function read(letter, k, group) {
  switch (letter) {
    case 'i':
      return I32[4 * k]
    case 'I':
      return I64[2 * k]
    case 'f':
      return F32[4 * k]
    case 'd':
      return F64[2 * k]
    case 'r':
      return group.references.at(U32[4 * k])
    default:
      return functionToJS(letter, U32[4 * k] + U32[4 * k + 1] * HIGH, group)
  }
}

// Nothing below stores to a hole of an Array or reads beyond its end: either would be looked for in Array.prototype.

/** As {@link read}, of all values of a signature. */
function readAll(letters, group) {
  const values = letters.slice()
  for (let k = 0; k < letters.length; k++) values[k] = read(letters[k], k, group)
  return values
}

function toRawAll(letters, values, group) {
  const raws = letters.slice()
  for (let k = 0; k < letters.length; k++) raws[k] = toRaw(letters[k], k < values.length ? values[k] : undefined, group)
  return raws
}

function writeAll(letters, raws, group) {
  for (let k = 0; k < letters.length; k++) write(letters[k], k, raws[k], group)
}

module.exports = { INCOMPATIBLE, NOT_A_FUNCTION, read, readAll, toRaw, toRawAll, write, writeAll }
