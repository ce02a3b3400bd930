'use strict'
// What cannot go through JavaScript as it is (v128, and which NaN it is) is compared in WebAssembly: a module imports the
// functions that a script calls and exports, for each assertion, a function that says 1 or 0.

const { isOpaque } = require('./values.js')

const LANE_BITS = { i8: 8, i16: 16, i32: 32, f32: 32, i64: 64, f64: 64 }

/** What a NaN pattern looks at, and what it wants to see there. */
const NANS = {
  f32: {
    'nan:canonical': [0x7fff_ffffn, 0x7fc0_0000n],
    'nan:arithmetic': [0x7fc0_0000n, 0x7fc0_0000n],
  },
  f64: {
    'nan:canonical': [0x7fff_ffff_ffff_ffffn, 0x7ff8_0000_0000_0000n],
    'nan:arithmetic': [0x7ff8_0000_0000_0000n, 0x7ff8_0000_0000_0000n],
  },
}

/** The bits that count of a value of `bits` bits, and their values. */
function pattern(type, value, bits) {
  return NANS[type]?.[value] ?? [BigInt.asUintN(bits, -1n), BigInt.asUintN(bits, BigInt(value))]
}

/** Mask and value of a whole v128. */
function lanes({ lane_type: type, value }) {
  const bits = LANE_BITS[type]
  const parts = value.map((one) => pattern(type, one, bits))
  const join = (which) => parts.reduce((all, part, lane) => all | (part[which] << BigInt(lane * bits)), 0n)
  return [join(0), join(1)]
}

const vector = (bits) => `(v128.const i64x2 ${BigInt.asUintN(64, bits)} ${bits >> 64n})`

function constant(of) {
  switch (of.type) {
    case 'i32':
    case 'i64':
      return `(${of.type}.const ${of.value})`
    case 'f32':
      return `(f32.reinterpret_i32 (i32.const ${of.value}))`
    case 'f64':
      return `(f64.reinterpret_i64 (i64.const ${of.value}))`
    case 'v128':
      return vector(lanes(of)[1])
    default:
      throw new Error(`a script passes a ${of.type} beside what JavaScript has no value for`)
  }
}

/** A string of the text format. */
const quoted = (text) => `"${Buffer.from(text).toString('hex').replace(/../g, '\\$&')}"`

const typeOf = ({ type, values }) => (type === 'either' ? values[0].type : type)

/** An expression that is 1 if the local `name` matches. */
function check(of, name) {
  const local = `(local.get ${name})`
  switch (of.type) {
    case 'i32':
    case 'i64':
      return `(${of.type}.eq ${local} (${of.type}.const ${of.value}))`
    case 'f32': {
      const [mask, bits] = pattern('f32', of.value, 32)
      return `(i32.eq (i32.and (i32.reinterpret_f32 ${local}) (i32.const ${mask})) (i32.const ${bits}))`
    }
    case 'f64': {
      const [mask, bits] = pattern('f64', of.value, 64)
      return `(i64.eq (i64.and (i64.reinterpret_f64 ${local}) (i64.const ${mask})) (i64.const ${bits}))`
    }
    case 'v128': {
      const [mask, bits] = lanes(of)
      return `(i8x16.all_true (i8x16.eq (v128.and ${local} ${vector(mask)}) ${vector(bits)}))`
    }
    case 'either':
      return of.values.map((one) => check(one, name)).reduce((all, one) => `(i32.or ${all} ${one})`)
    default:
      throw new Error(`a script expects a ${of.type} beside what JavaScript has no value for`)
  }
}

/** The functions of a call: the import, and the export that makes the call and compares. */
function functions({ action, expected = [] }, results, name) {
  const locals = results.map((type, index) => `(local $r${index} ${type})`)
  const sets = results.map((_, index) => `(local.set $r${index})`).reverse()
  const checks = expected.map((one, index) => check(one, `$r${index}`))
  return [
    `(import "instance" ${quoted(action.field)} (func $${name}
      (param ${action.args.map(typeOf).join(' ')}) (result ${results.join(' ')})))`,
    `(func (export "${name}") (result i32) ${locals.join(' ')} ${action.args.map(constant).join(' ')}
      (call $${name}) ${sets.join(' ')} ${checks.reduce((all, one) => `(i32.and ${all} ${one})`, '(i32.const 1)')})`,
  ]
}

/**
 * The text of the module for the calls of one instance; undefined if all of them can be made from JavaScript.
 *
 * @param {Map<string, object>} commands those that call, by the name that the export gets
 * @param {Object<string, string[]>} vectors the result types of the functions that return vectors
 */
function wrapper(commands, vectors) {
  const needs = ({ type, action, expected = [] }) =>
    action.field in vectors || (type === 'assert_return' && [...action.args, ...expected].some(isOpaque))
  const parts = [...commands]
    .filter(([, command]) => needs(command))
    .map(([name, command]) => functions(command, vectors[command.action.field] ?? command.expected.map(typeOf), name))
  if (parts.length === 0) return undefined
  return `(module ${parts.map(([imported]) => imported).join('\n')}\n${parts.map(([, exported]) => exported).join('\n')})`
}

module.exports = { wrapper }
