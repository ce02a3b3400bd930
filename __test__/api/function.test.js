'use strict'
// Exported functions and imported ones: what crosses in either direction.

const test = require('ava')
const { W, instantiate } = require('../support/engine.js')

test('an exported function is a plain function named by its index', (t) => {
  const { a, b } = instantiate('(func) (func (export "a") (param i32 i64) (result i32) i32.const 1) (func (export "b"))')
  t.is(a.name, '1')
  t.is(a.length, 2)
  t.is(b.name, '2')
  t.is(b.length, 0)
  t.false('prototype' in a)
  t.throws(() => new a(), { instanceOf: TypeError })
  t.deepEqual(Object.getOwnPropertyDescriptor(a, 'name'), { value: '1', writable: false, enumerable: false, configurable: true })
  t.is(b(), undefined)
})

test('i32 arguments are coerced by ToInt32, for every arity', (t) => {
  for (const arity of [0, 1, 2, 3, 4, 5, 6]) {
    const sum = `i32.const 0 ${Array.from({ length: arity }, (_, k) => `local.get ${k} i32.add`).join(' ')}`
    const { f } = instantiate(`(func (export "f") ${'(param i32)'.repeat(arity)} (result i32) ${sum})`)
    const args = [1, '2', 2.9, true, 2 ** 32 + 5, { valueOf: () => -3 }].slice(0, arity)
    const expected = [1, 2, 2, 1, 5, -3].slice(0, arity).reduce((a, b) => a + b, 0)
    t.is(f(...args), expected)
    t.is(f(...args, 1000), expected)
    t.is(f(), 0)
  }
  const { id } = instantiate('(func (export "id") (param i32) (result i32) local.get 0)')
  t.is(id(2 ** 31), -(2 ** 31))
  t.is(id(NaN), 0)
  t.is(id(null), 0)
  t.throws(() => id(1n), { instanceOf: TypeError, message: 'Cannot convert a BigInt value to a number' })
  t.throws(() => id(Symbol('x')), { instanceOf: TypeError })
})

test('i32 functions without a result', (t) => {
  for (const arity of [1, 2, 3, 4]) {
    const wat = `(import "a" "f" (func $f ${'(param i32)'.repeat(arity)}))
      (func (export "g") ${'(param i32)'.repeat(arity)} ${Array.from({ length: arity }, (_, k) => `local.get ${k}`).join(' ')} call $f)`
    let seen
    const { g } = instantiate(wat, { a: { f: (...args) => (seen = args) } })
    t.is(g(...[1, 2.5, '3', -1].slice(0, arity)), undefined)
    t.deepEqual(seen, [1, 2, 3, -1].slice(0, arity))
  }
})

test('values of every number type go both ways', (t) => {
  const types = ['i64', 'f32', 'f64']
  const wat = [
    ...types.map((type) => `(import "a" "${type}" (func $${type} (param ${type}) (result ${type})))`),
    ...types.map((type) => `(func (export "${type}") (param ${type}) (result ${type}) local.get 0 call $${type})`),
  ].join('\n')
  const seen = []
  const record = (value) => {
    seen.push(value)
    return value
  }
  const { i64, f32, f64 } = instantiate(wat, { a: { i64: record, f32: record, f64: record } })
  t.is(i64(2n ** 63n), -(2n ** 63n))
  t.is(i64('12'), 12n)
  t.throws(() => i64(1), { instanceOf: TypeError, message: 'Cannot convert 1 to a BigInt' })
  t.is(f32(0.1), Math.fround(0.1))
  t.true(Object.is(f64(-0), -0))
  t.is(f64('1e3'), 1000)
  t.is(f64(undefined), NaN)
  t.deepEqual(seen, [-(2n ** 63n), 12n, Math.fround(0.1), -0, 1000, NaN])
})

test('a coercion may call back into the instance', (t) => {
  const { sub } = instantiate('(func (export "sub") (param i32 i32) (result i32) local.get 0 local.get 1 i32.sub)')
  const nested = { valueOf: () => sub(100, 1) }
  t.is(sub(nested, nested), 0)
  t.is(sub(1000, nested), 901)
  t.is(sub(nested, 1), 98)
})

test('several results are an Array, and an import may give any iterable', (t) => {
  const { g } = instantiate(`(import "a" "f" (func $f (result i32 f64 i64))) (func (export "g") (result i32 f64 i64) call $f)`, {
    a: { f: () => result },
  })
  let result = [1.5, '2.5', 3n]
  t.deepEqual(g(), [1, 2.5, 3n])
  result = new Set([1, 2, 3n])
  t.deepEqual(g(), [1, 2, 3n])
  result = [1, 2]
  t.throws(() => g(), { instanceOf: TypeError, message: 'multi-return length mismatch' })
  result = 1
  t.throws(() => g(), { instanceOf: TypeError, message: /not iterable/ })
  result = [1, 2, 3]
  t.throws(() => g(), { instanceOf: TypeError })
})

test('an import is called without a receiver, and its result coerced', (t) => {
  let receiver = 'none'
  let value
  const { g } = instantiate('(import "a" "f" (func $f (result i32))) (func (export "g") (result i32) call $f)', {
    a: {
      f() {
        receiver = this
        return value
      },
    },
  })
  for (const [given, expected] of [
    [undefined, 0],
    ['7', 7],
    [2 ** 32 + 1, 1],
    [{ valueOf: () => 5 }, 5],
    [-1.5, -1],
  ]) {
    value = given
    t.is(g(), expected)
  }
  t.is(receiver, undefined)
  value = 1n
  t.throws(() => g(), { instanceOf: TypeError })
})

test('what an import throws goes through wasm unchanged', (t) => {
  let thrown
  const { g } = instantiate('(import "a" "f" (func $f)) (func (export "g") call $f)', {
    a: {
      f() {
        throw thrown
      },
    },
  })
  for (thrown of [new Error('x'), 'a string', undefined, null, 7]) {
    let caught = 'nothing'
    try {
      g()
    } catch (error) {
      caught = error
    }
    t.is(caught, thrown)
  }
})

test('wasm and JavaScript call each other in turns', (t) => {
  const { f } = instantiate(
    `(import "a" "f" (func $f (param i32) (result i32)))
     (func (export "f") (param i32) (result i32)
       (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
         (else (i32.add (local.get 0) (call $f (i32.sub (local.get 0) (i32.const 1)))))))`,
    { a: { f: (n) => f(n) } }
  )
  t.is(f(50), 1275)
})

test('traps are RuntimeErrors in the words of V8', (t) => {
  const { unreachable, load, divide, indirect } = instantiate(`
    (memory 1) (table 1 funcref) (type $v (func))
    (func (export "unreachable") unreachable)
    (func (export "load") (param i32) (result i32) local.get 0 i32.load)
    (func (export "divide") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
    (func (export "indirect") i32.const 0 call_indirect (type $v))`)
  const trap = (message) => ({ instanceOf: W.RuntimeError, message })
  t.throws(() => unreachable(), trap('unreachable'))
  t.throws(() => load(65536), trap('memory access out of bounds'))
  t.throws(() => load(-1), trap('memory access out of bounds'))
  t.throws(() => divide(1, 0), trap('divide by zero'))
  t.throws(() => divide(-(2 ** 31), -1), trap('divide result unrepresentable'))
  t.throws(() => indirect(), { instanceOf: W.RuntimeError, message: /null function|RuntimeError|signature/ })
  t.is(load(0), 0)
})

test('externref carries any value, null apart', (t) => {
  const { id, isNull } = instantiate(`
    (func (export "id") (param externref) (result externref) local.get 0)
    (func (export "isNull") (param externref) (result i32) local.get 0 ref.is_null)`)
  for (const value of [{}, [], () => {}, 'text', 1.5, 0, -0, NaN, 1n, true, undefined, null, Symbol('s')]) {
    t.true(Object.is(id(value), value))
    t.is(isNull(value), value === null ? 1 : 0)
  }
  for (let i = 0; i < 5000; i++) {
    const object = { i }
    if (id(object) !== object) t.fail(`lost after ${i}`)
  }
})

test('funcref takes exported functions and null only', (t) => {
  const { id, f } = instantiate(`
    (func $f (export "f"))
    (func (export "id") (param funcref) (result funcref) local.get 0)`)
  t.is(id(f), f)
  t.is(id(null), null)
  for (const wrong of [() => {}, undefined, 1, {}]) t.throws(() => id(wrong), { instanceOf: TypeError })
  const other = instantiate('(func (export "g") (result i32) i32.const 9)').g
  t.is(id(other), other)
})

test('v128 cannot cross, and no argument is touched', (t) => {
  const { f } = instantiate('(func (export "f") (param v128))')
  let touched = false
  t.throws(() => f({ valueOf: () => (touched = true) }), { instanceOf: TypeError })
  t.false(touched)
})

test('an exported function passed on as an import stays the same function', (t) => {
  const a = instantiate('(func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)')
  const b = instantiate(
    `(import "a" "add" (func $add (param i32 i32) (result i32))) (export "add" (func $add))
     (func (export "inc") (param i32) (result i32) local.get 0 i32.const 1 call $add)`,
    { a }
  )
  t.is(b.add, a.add)
  t.is(b.inc(41), 42)
  // Functions of two instances that know nothing of each other.
  const c = instantiate('(func (export "neg") (param i32) (result i32) i32.const 0 local.get 0 i32.sub)')
  const d = instantiate(
    `(import "m" "inc" (func $inc (param i32) (result i32))) (import "m" "neg" (func $neg (param i32) (result i32)))
     (export "neg" (func $neg)) (func (export "f") (param i32) (result i32) local.get 0 call $inc call $neg)`,
    { m: { inc: b.inc, neg: c.neg } }
  )
  t.is(d.neg, c.neg)
  t.is(d.f(1), -2)
})

test('a JavaScript function that is exported again becomes an exported function', (t) => {
  const js = (x) => x * 2
  const { f, g } = instantiate(
    '(import "a" "f" (func $f (param i32) (result i32))) (export "f" (func $f)) (export "g" (func $f))',
    { a: { f: js } }
  )
  t.not(f, js)
  t.is(f, g)
  t.is(f.name, '0')
  t.is(f('21'), 42)
})
