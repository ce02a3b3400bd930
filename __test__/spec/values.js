'use strict'
// The scripts' constants and patterns, in JavaScript.

const hosts = new Map()

/** The host's reference number `number`: the same one each time. */
function host(number) {
  if (!hosts.has(number)) hosts.set(number, Symbol(`host reference ${number}`))
  return hosts.get(number)
}

const view = new DataView(new ArrayBuffer(8))

function float32(bits) {
  view.setUint32(0, Number(bits))
  return view.getFloat32(0)
}

function float64(bits) {
  view.setBigUint64(0, BigInt(bits))
  return view.getFloat64(0)
}

const isNaNPattern = ({ type, value }) => value.startsWith('nan:') || Number.isNaN(type === 'f32' ? float32(value) : float64(value))

/** Whether a value (or a pattern of values) of this kind cannot go through JavaScript as it is. */
function isOpaque(constant) {
  switch (constant.type) {
    case 'v128':
      return true
    case 'f32':
    case 'f64':
      return isNaNPattern(constant)
    case 'either':
      return constant.values.some(isOpaque)
    default:
      return false
  }
}

/** An argument. Those that can be no reference of the host are null. */
function toJS({ type, value }) {
  switch (type) {
    case 'i32':
      return Number(value)
    case 'i64':
      return BigInt(value)
    case 'f32':
      return float32(value)
    case 'f64':
      return float64(value)
    case 'externref':
    case 'anyref':
      return value === undefined || value === 'null' ? null : host(value)
    default:
      return null
  }
}

const isObjectOrNull = (value) => value === null || typeof value === 'object'

const isReference = (value, expected) => {
  if (expected === undefined) return value !== null
  return value === (expected === 'null' ? null : host(expected))
}

/** Whether `value` is what a script expects. */
function matches(value, expected) {
  switch (expected.type) {
    case 'i32':
    case 'i64':
    case 'f32':
    case 'f64':
      return Object.is(value, toJS(expected))
    case 'externref':
    case 'anyref':
      return isReference(value, expected.value)
    case 'funcref':
      return expected.value === 'null' ? value === null : typeof value === 'function'
    case 'either':
      return expected.values.some((one) => matches(value, one))
    // The scripts as they come do not tell a null of these types from one that is none.
    case 'eqref':
    case 'arrayref':
    case 'structref':
      return isObjectOrNull(value)
    case 'i31ref':
      return value === null || typeof value === 'number'
    case 'refnull':
    case 'nullref':
    case 'nullfuncref':
    case 'nullexternref':
    case 'nullexnref':
    case 'exnref':
      return value === null
    default:
      throw new Error(`a script expects a ${expected.type}`)
  }
}

module.exports = { isOpaque, matches, toJS }
