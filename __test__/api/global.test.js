'use strict'
// WebAssembly.Global.

const test = require('ava')
const { W, instantiate } = require('../support/engine.js')

test('a Global holds a value of its type', (t) => {
  for (const [type, value, expected] of [
    ['i32', 2 ** 31, -(2 ** 31)],
    ['i32', '3.7', 3],
    ['i32', undefined, 0],
    ['i64', 2n ** 63n, -(2n ** 63n)],
    ['i64', undefined, 0n],
    ['f32', 0.1, Math.fround(0.1)],
    ['f64', 0.1, 0.1],
    ['externref', 'x', 'x'],
    ['externref', undefined, undefined],
    ['anyfunc', null, null],
  ]) {
    t.is(new W.Global({ value: type }, value).value, expected)
    const mutable = new W.Global({ value: type, mutable: true })
    mutable.value = value === undefined ? expected : value
    t.is(mutable.valueOf(), expected)
  }
  t.is(new W.Global({ value: 'anyfunc' }).value, null)
  t.throws(() => new W.Global({ value: 'anyfunc' }, () => {}), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'i64' }, 1), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'i32' }, 1n), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'int' }), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'v128' }), { instanceOf: TypeError })
  const constant = new W.Global({ value: 'i32' }, 1)
  t.throws(() => (constant.value = 2), { instanceOf: TypeError, message: /Can't set the value of an immutable global/ })
})

test('a mutable Global is shared by all who import it, linked or not', (t) => {
  for (const [type, one, two] of [
    ['i32', 1, -2],
    ['i64', 1n, -2n],
    ['f32', 0.5, -2],
    ['f64', 0.1, -2],
  ]) {
    const g = new W.Global({ value: type, mutable: true }, one)
    const wat = `(import "g" "g" (global $g (mut ${type}))) (export "g" (global $g))
      (func (export "get") (result ${type}) global.get $g)
      (func (export "set") (param ${type}) local.get 0 global.set $g)`
    const a = instantiate(wat, { g: { g } })
    const b = instantiate(wat, { g: { g: a.g } })
    t.is(a.g, g)
    t.is(b.g, g)
    t.is(b.get(), one)
    a.set(two)
    t.deepEqual([g.value, a.get(), b.get()], [two, two, two])
    g.value = one
    t.deepEqual([a.get(), b.get()], [one, one])
  }
})

test('immutable globals take plain values', (t) => {
  const object = {}
  const { i, l, d, r } = instantiate(
    `(import "g" "i" (global i32)) (import "g" "l" (global i64)) (import "g" "d" (global f64)) (import "g" "r" (global externref))
     (export "i" (global 0)) (export "l" (global 1)) (export "d" (global 2)) (export "r" (global 3))`,
    { g: { i: 1.9, l: 2n, d: 0.5, r: object } }
  )
  t.deepEqual([i.value, l.value, d.value], [1, 2n, 0.5])
  t.is(r.value, object)
  t.true(i instanceof W.Global)
})

test('globals of references keep identity', (t) => {
  const object = {}
  const a = instantiate(`
    (global (export "f0") funcref (ref.func $f)) (func $f (export "f"))
    (global $r (export "r") (mut externref) (ref.null extern))
    (func (export "get") (result externref) global.get $r)`)
  t.is(a.f0.value, a.f)
  t.is(a.r.value, null)
  a.r.value = object
  t.is(a.get(), object)
  const b = instantiate(
    '(import "a" "f0" (global funcref)) (export "f0" (global 0)) (func (export "get") (result funcref) global.get 0)',
    { a }
  )
  t.is(b.f0, a.f0)
  t.is(b.get(), a.f)
})
