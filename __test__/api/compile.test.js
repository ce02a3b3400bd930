'use strict'
// validate, compile and instantiate, and the options that only this package has.

const test = require('ava')
const { EMPTY, W, assemble, ours } = require('../support/engine.js')

test('validate answers, and throws only for what is no buffer source', (t) => {
  t.true(W.validate(EMPTY))
  t.false(W.validate(new Uint8Array([1, 2, 3])))
  t.false(W.validate(new Uint8Array()))
  t.throws(() => W.validate('x'), { instanceOf: TypeError })
})

test('compile copies the bytes at the call', async (t) => {
  const bytes = assemble('(func (export "f"))')
  const promise = W.compile(bytes)
  bytes.fill(0)
  t.deepEqual(W.Module.exports(await promise), [{ name: 'f', kind: 'function' }])
})

test('compile and instantiate reject, never throw', async (t) => {
  await t.throwsAsync(W.compile(), { instanceOf: TypeError })
  await t.throwsAsync(W.compile(new ArrayBuffer(0)), { instanceOf: W.CompileError })
  await t.throwsAsync(W.instantiate(), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(EMPTY, null), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(new W.Module(EMPTY), 1), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(assemble('(import "a" "f" (func))')), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(assemble('(import "a" "f" (func))'), { a: {} }), { instanceOf: W.LinkError })
})

test('instantiate gives an Instance for a Module, both for bytes', async (t) => {
  const bytes = assemble('(func (export "f") (result i32) i32.const 42)')
  const both = await W.instantiate(bytes)
  t.deepEqual(Object.keys(both), ['module', 'instance'])
  t.true(both.module instanceof W.Module)
  t.is(both.instance.exports.f(), 42)
  const instance = await W.instantiate(both.module)
  t.true(instance instanceof W.Instance)
  t.is(instance.exports.f(), 42)
  t.not(instance.exports.f, both.instance.exports.f)
})

test('instantiate of a Module reads the imports before it returns', async (t) => {
  const module = new W.Module(assemble('(import "a" "g" (global i32))'))
  let read = false
  const promise = W.instantiate(module, {
    get a() {
      read = true
      return { g: 1 }
    },
  })
  t.true(read)
  await promise
})

ours('options are checked by name and by type', async (t) => {
  const invalid = (code, message) => ({ instanceOf: TypeError, code, message })
  await t.throwsAsync(W.compile(EMPTY, { partion: 'x' }), invalid('ERR_INVALID_ARG_VALUE', /"partion"/))
  await t.throwsAsync(W.compile(EMPTY, { partition: 1 }), invalid('ERR_INVALID_ARG_TYPE', /"partition"/))
  // Kept as UTF-8, they could not be told from a partition with U+FFFD in their place.
  for (const partition of ['\ud800', 'x\udc00y', '\udc00\ud800']) {
    await t.throwsAsync(
      W.compile(EMPTY, { partition }),
      invalid('ERR_INVALID_ARG_VALUE', /"partition" must not have a lone surrogate/)
    )
  }
  await t.notThrowsAsync(W.compile(EMPTY, { partition: '\ufffd\u{1f600}' }))
  await t.throwsAsync(W.compile(EMPTY, { cache: 'sometimes' }), invalid('ERR_INVALID_ARG_VALUE', /"cache"/))
  await t.throwsAsync(W.compile(EMPTY, { minSize: '1' }), invalid('ERR_INVALID_ARG_TYPE', /"minSize"/))
  await t.throwsAsync(W.compile(EMPTY, { minSize: -1 }), invalid('ERR_INVALID_ARG_VALUE', /"minSize"/))
  await t.throwsAsync(W.compile(EMPTY, { optimize: 1 }), invalid('ERR_INVALID_ARG_TYPE', /"optimize"/))
  await t.throwsAsync(W.compile(EMPTY, { signal: {} }), invalid('ERR_INVALID_ARG_TYPE', /"signal"/))
  t.throws(() => new W.Module(EMPTY, { partion: 'x' }), { code: 'ERR_INVALID_ARG_VALUE' })
  const options = { partition: 'p', cache: 'read-only', minSize: Infinity, optimize: false }
  t.true((await W.compile(EMPTY, options)) instanceof W.Module)
})

ours('a signal ends compile with its reason', async (t) => {
  const reason = new Error('enough')
  await t.throwsAsync(W.compile(EMPTY, { signal: AbortSignal.abort(reason) }), { is: reason })
  const controller = new AbortController()
  const promise = W.compile(EMPTY, { signal: controller.signal })
  controller.abort(reason)
  await t.throwsAsync(promise, { is: reason })
})
