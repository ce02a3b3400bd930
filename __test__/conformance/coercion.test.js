'use strict'
// Coercions: what values of JavaScript become in WebAssembly, be they arguments or a host function's results, and what comes out.
// https://webassembly.github.io/spec/js-api/#towebassemblyvalue

const vm = require('node:vm')

const { check, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')

const identity = (type) => `(func (export "f") (param ${type}) (result ${type}) local.get 0)`
const constant = {
  i32: 'i32.const 1',
  i64: 'i64.const 1',
  f32: 'f32.const 1',
  f64: 'f64.const 1',
  externref: 'ref.null extern',
  funcref: 'ref.null func',
}

// Into WebAssembly

const VALUES = () => [
  undefined,
  null,
  true,
  false,
  0,
  -0,
  1,
  -1,
  1.9,
  -1.9,
  NaN,
  Infinity,
  -Infinity,
  2 ** 31,
  2 ** 32,
  2 ** 32 + 5,
  -(2 ** 31) - 1,
  2 ** 53,
  2 ** 63,
  1e300,
  5e-324,
  0.1,
  16777217,
  0n,
  -1n,
  2n ** 31n,
  2n ** 63n,
  2n ** 64n + 7n,
  '',
  ' 12 ',
  '0x10',
  '1e3',
  'x',
  '9007199254740993',
  [],
  [7],
  [1, 2],
  {},
  () => {},
  Symbol('s'),
  new Date(5),
  Object(3),
  Object(4n),
  Object('6'),
  { valueOf: () => 8 },
  { valueOf: () => 9n },
  { toString: () => '10' },
  { valueOf: () => ({}), toString: () => '11' },
  { valueOf: () => ({}), toString: () => ({}) },
  { [Symbol.toPrimitive]: (hint) => (hint === 'number' ? 12 : 13) },
  { [Symbol.toPrimitive]: () => 14n },
  { [Symbol.toPrimitive]: () => ({}) },
  { [Symbol.toPrimitive]: undefined, valueOf: () => 15 },
  {
    valueOf() {
      throw new EvalError('mine')
    },
  },
  {
    get valueOf() {
      throw new EvalError('getter')
    },
  },
  vm.runInNewContext('({ valueOf: () => 16 })'),
  new Proxy({ valueOf: () => 17 }, {}),
]

for (const type of ['i32', 'i64', 'f32', 'f64']) {
  check(`ToWebAssemblyValue [#towebassemblyvalue] and back: ${type}`, (W, { each, link }) => {
    const { f } = link(identity(type))
    return [each([0], () => f()), each(VALUES(), (value) => f(value))]
  })

  check(`run a host function [#run-a-host-function]: one result, ${type}`, (W, { each, link }) => {
    let result
    const { g } = link(`(import "i" "f" (func $f (result ${type}))) (func (export "g") (result ${type}) call $f)`, {
      i: { f: () => result },
    })
    return each(VALUES(), (value) => {
      result = value
      return g()
    })
  })

  check(`coercion: one parameter among others, ${type}`, (W, { each, link }) => {
    const { f } = link(
      `(func (export "f") (param externref ${type} i32) (result externref ${type} i32) local.get 0 local.get 1 local.get 2)`
    )
    return each(VALUES(), (value) => f('x', value, 3))
  })
}

check(
  'ToPrimitive: a method that is none',
  (W, { each, link }) => each(['i32', 'i64', 'f32', 'f64'], (type) => link(identity(type)).f({ [Symbol.toPrimitive]: 1 })),
  [TYPE, TYPE, TYPE, TYPE],
  { messages: false }
)

check('ToInt32 of every order of magnitude', (W, { each, link }) => {
  const { f } = link(identity('i32'))
  const values = Array.from({ length: 90 }, (_, k) => [2 ** k, -(2 ** k), 2 ** k + 0.5, 2 ** k - 1, -(2 ** k) + 1]).flat()
  return [each(values, (value) => f(value)), values.every((value) => f(value) === (value | 0))]
})

check(
  'ToWebAssemblyValue of externref: every value is itself',
  (W, { link }) => {
    const { f } = link(identity('externref'))
    const given = [
      undefined,
      null,
      true,
      0,
      -0,
      NaN,
      0.5,
      2 ** 31,
      2 ** 30,
      -(2 ** 30) - 1,
      1n,
      2n ** 70n,
      '',
      'text',
      'x'.repeat(1000),
      Symbol('s'),
      Symbol.iterator,
      {},
      [],
      () => {},
      f,
      new Date(),
      new Proxy({}, {}),
      Object.create(null),
      new W.Memory({ initial: 1 }),
      globalThis,
    ]
    return given.every((value) => Object.is(f(value), value))
  },
  true
)

check(
  'ToWebAssemblyValue of externref: null is ref.null, undefined is not',
  (W, { each, link }) => {
    const { f } = link('(func (export "f") (param externref) (result i32) local.get 0 ref.is_null)')
    return [f(), ...each([undefined, null, 0, '', false, NaN], (value) => f(value))]
  },
  [0, 0, 1, 0, 0, 0, 0]
)

check(
  'ToWebAssemblyValue of funcref: null and exported functions',
  (W, { each, link }) => {
    const { f, g } = link(`${identity('funcref')} (func (export "g"))`)
    const other = link('(func (export "h") (param i64))').h
    return [
      f(null),
      f(g) === g,
      f(other) === other,
      f(f) === f,
      each(
        [undefined, 0, 'x', {}, () => {}, g.bind(), new Proxy(g, {}), Object.create(g), vm.runInNewContext('(function () {})')],
        (value) => f(value)
      ),
      each([0], () => f()),
    ]
  },
  [null, true, true, true, Array(9).fill(TYPE), [TYPE]]
)

// Out of WebAssembly

check(
  'ToJSValue [#tojsvalue]: the ends of every type',
  (W, { link }) => {
    const e = link(`
    (func (export "i32") (result i32) i32.const 0xffffffff) (func (export "min32") (result i32) i32.const 0x80000000) (func (export "i64") (result i64) i64.const 0xffffffffffffffff) (func (export "min64") (result i64) i64.const 0x8000000000000000)
    (func (export "nan32") (result f32) f32.const nan:0x200000) (func (export "nan64") (result f64) f64.const -nan:0x4000000000000) (func (export "inf32") (result f32) f32.const -inf) (func (export "zero") (result f32) f32.const -0)
    (func (export "tiny") (result f32) f32.const 0x1p-149) (func (export "max") (result f64) f64.const 0x1.fffffffffffffp+1023)`)
    return Object.values(e).map((f) => f())
  },
  [-1, -(2 ** 31), -1n, -(2n ** 63n), NaN, NaN, -Infinity, -0, 2 ** -149, Number.MAX_VALUE]
)

// Realms

check(
  'errors of coercions are of the realm of the exported function',
  (W, { link }) => {
    const { f } = link('(func (export "f") (param i64))')
    const caller = vm.runInNewContext('(f) => { try { f(1) } catch (error) { return [error instanceof TypeError, error] } }')
    const [theirs, error] = caller(f)
    return [theirs, error instanceof TypeError]
  },
  [false, true]
)

check('functions with every result type give it on', (W, { link }) =>
  Object.keys(constant).map((type) => link(`(func (export "f") (result ${type}) ${constant[type]})`).f())
)
