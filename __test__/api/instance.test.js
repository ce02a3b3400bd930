'use strict'
// WebAssembly.Instance: exports, linking and the start function.

const test = require('ava')
const { EMPTY, W, instantiate } = require('../support/engine.js')

test('exports are a frozen object without a prototype', (t) => {
  const exported = instantiate('(func $f (export "f")) (export "g" (func $f)) (func (export "__proto__"))')
  t.is(Object.getPrototypeOf(exported), null)
  t.true(Object.isFrozen(exported))
  t.deepEqual(Reflect.ownKeys(exported), ['f', 'g', '__proto__'])
  t.is(exported.f, exported.g)
  const instance = new W.Instance(new W.Module(EMPTY))
  t.is(instance.exports, instance.exports)
})

test('a missing or wrong import is named', (t) => {
  const link = (type, value) => () => instantiate(`(import "env" "f" ${type})`, { env: { f: value } })
  const cases = [
    ['(func)', {}, 'function import requires a callable'],
    ['(table 1 funcref)', {}, 'table import requires a WebAssembly.Table'],
    ['(memory 1)', {}, 'memory import must be a WebAssembly.Memory object'],
    ['(tag)', {}, 'tag import requires a WebAssembly.Tag'],
    ['(global i32)', 1n, 'global import must be a number, valid Wasm reference, or WebAssembly.Global object'],
    ['(global i64)', 1, 'global import must be a number, valid Wasm reference, or WebAssembly.Global object'],
    ['(global (mut i32))', 1, 'imported mutable global must be a WebAssembly.Global object'],
    ['(global i32)', new W.Global({ value: 'i64' }), 'imported global does not match the expected type'],
    ['(global i32)', new W.Global({ value: 'i32', mutable: true }), 'imported global does not match the expected mutability'],
    ['(table 1 externref)', new W.Table({ element: 'anyfunc', initial: 1 }), 'imported table does not match the expected type'],
    ['(func)', instantiate('(func (export "f") (param i32))').f, 'imported function does not match the expected type'],
    ['(tag)', new W.Tag({ parameters: ['i32'] }), 'imported tag does not match the expected type'],
  ]
  for (const [type, value, message] of cases) {
    const error = t.throws(link(type, value), { instanceOf: W.LinkError }, type)
    // V8 up to 12 says `module="env" function="f" error:`.
    t.regex(error.message, /^WebAssembly\.Instance\(\): Import #0 (module=)?"env" (function=)?"f"/)
    t.true(error.message.endsWith(message), error.message)
  }
  t.throws(() => instantiate('(import "env" "f" (func))'), { instanceOf: TypeError })
  t.throws(() => instantiate('(import "env" "f" (func))', {}), { instanceOf: TypeError, message: /"env"/ })
})

test('limits of imported memories and tables are checked', (t) => {
  const memory = (limits, descriptor) => () =>
    instantiate(`(import "m" "m" (memory ${limits}))`, { m: { m: new W.Memory(descriptor) } })
  const table = (limits, descriptor) => () =>
    instantiate(`(import "m" "t" (table ${limits} funcref))`, { m: { t: new W.Table({ element: 'anyfunc', ...descriptor }) } })
  for (const link of [memory, table]) {
    t.throws(link('2', { initial: 1 }), { instanceOf: W.LinkError, message: /smaller than/ })
    t.throws(link('1 4', { initial: 1 }), { instanceOf: W.LinkError, message: /no maximum/ })
    t.throws(link('1 4', { initial: 1, maximum: 5 }), { instanceOf: W.LinkError, message: /larger maximum size 5/ })
    t.notThrows(link('1 4', { initial: 1, maximum: 4 }))
    t.notThrows(link('1', { initial: 3, maximum: 4 }))
  }
  t.throws(memory('1 4', { initial: 1, maximum: 4, shared: true }), { instanceOf: W.LinkError, message: /shared state/ })
})

test('the start function runs once, with the exports not yet handed out', (t) => {
  const calls = []
  const wat = '(import "a" "f" (func $f (param i32))) (func $s i32.const 7 call $f) (start $s)'
  instantiate(wat, { a: { f: (x) => calls.push(x) } })
  t.deepEqual(calls, [7])
  const error = new Error('from start')
  const thrown = t.throws(() =>
    instantiate(wat, {
      a: {
        f() {
          throw error
        },
      },
    })
  )
  t.is(thrown, error)
})
