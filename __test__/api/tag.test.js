'use strict'
// WebAssembly.Tag and WebAssembly.Exception.

const test = require('ava')
const { W, instantiate } = require('../support/engine.js')

test('a wasm exception arrives as WebAssembly.Exception', (t) => {
  const tag = new W.Tag({ parameters: ['i32', 'f64'] })
  const exported = instantiate(
    `(import "e" "t" (tag $t (param i32 f64))) (tag $own (export "own") (param i32))
     (export "t" (tag $t))
     (func (export "throw") i32.const 5 f64.const 0.5 throw $t)
     (func (export "throwOwn") i32.const 6 throw $own)`,
    { e: { t: tag } }
  )
  t.is(exported.t, tag)
  const error = t.throws(() => exported.throw(), { any: true })
  t.true(error instanceof W.Exception)
  t.true(error.is(tag))
  t.deepEqual([error.getArg(tag, 0), error.getArg(tag, 1)], [5, 0.5])
  const own = t.throws(() => exported.throwOwn(), { any: true })
  t.true(exported.own instanceof W.Tag)
  t.true(own.is(exported.own))
  t.false(own.is(tag))
  t.is(own.getArg(exported.own, 0), 6)
})

test('an Exception of JavaScript goes through wasm as it is', (t) => {
  const tag = new W.Tag({ parameters: ['i32'] })
  const exception = new W.Exception(tag, [3])
  const { g } = instantiate('(import "a" "t" (tag (param i32))) (import "a" "f" (func $f)) (func (export "g") call $f)', {
    a: {
      t: tag,
      f() {
        throw exception
      },
    },
  })
  const caught = t.throws(() => g(), { any: true })
  t.true(caught.is(tag))
  t.is(caught.getArg(tag, 0), 3)
})

test('Tag descriptors are checked', (t) => {
  for (const wrong of [undefined, {}, { parameters: 1 }, { parameters: ['int'] }]) {
    t.throws(() => new W.Tag(wrong), { instanceOf: TypeError })
  }
})
