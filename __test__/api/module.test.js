'use strict'
// WebAssembly.Module.

const test = require('ava')
const { EMPTY, W, assemble, ours } = require('../support/engine.js')

test('a Module lists its imports and exports in order', (t) => {
  const module = new W.Module(
    assemble(`
      (import "a" "f" (func $f (param i32)))
      (import "a" "m" (memory 1))
      (import "b" "g" (global i32))
      (import "b" "t" (table 1 funcref))
      (import "b" "e" (tag))
      (func (export "x") (result i32) i32.const 1)
      (export "f again" (func $f))
      (export "m" (memory 0))`)
  )
  t.deepEqual(W.Module.imports(module), [
    { module: 'a', name: 'f', kind: 'function' },
    { module: 'a', name: 'm', kind: 'memory' },
    { module: 'b', name: 'g', kind: 'global' },
    { module: 'b', name: 't', kind: 'table' },
    { module: 'b', name: 'e', kind: 'tag' },
  ])
  t.deepEqual(W.Module.exports(module), [
    { name: 'x', kind: 'function' },
    { name: 'f again', kind: 'function' },
    { name: 'm', kind: 'memory' },
  ])
  t.not(W.Module.exports(module), W.Module.exports(module))
})

test('customSections gives a fresh copy of each section of that name', (t) => {
  const section = (name, ...bytes) => [0, 1 + name.length + bytes.length, name.length, ...Buffer.from(name), ...bytes]
  const module = new W.Module(new Uint8Array([...EMPTY, ...section('one', 1, 2), ...section('two', 3), ...section('one')]))
  const sections = W.Module.customSections(module, 'one')
  t.deepEqual(
    sections.map((buffer) => [...new Uint8Array(buffer)]),
    [[1, 2], []]
  )
  t.true(sections[0] instanceof ArrayBuffer)
  t.not(W.Module.customSections(module, 'one')[0], sections[0])
  t.deepEqual(W.Module.customSections(module, 'on'), [])
  t.throws(() => W.Module.customSections(module), { instanceOf: TypeError })
})

test('a Module is made of any buffer source', (t) => {
  const padded = new Uint8Array(16)
  padded.set(EMPTY, 4)
  t.true(new W.Module(EMPTY.buffer) instanceof W.Module)
  t.true(new W.Module(padded.subarray(4, 12)) instanceof W.Module)
  t.throws(() => new W.Module(padded), { instanceOf: W.CompileError, message: /expected magic word 00 61 73 6d/ })
  t.throws(() => new W.Module(new Uint8Array()), { instanceOf: W.CompileError, message: /BufferSource argument is empty/ })
  for (const wrong of [undefined, null, 1, 'wasm', {}, [0]]) {
    t.throws(() => new W.Module(wrong), {
      instanceOf: TypeError,
      message: 'WebAssembly.Module(): Argument 0 must be a buffer source',
    })
  }
})

test('an invalid function is a CompileError', async (t) => {
  const bytes = assemble('(func (export "f") (result i32) i32.const 1)')
  bytes[bytes.lastIndexOf(0x41)] = 0x42 // i64.const
  t.false(W.validate(bytes))
  t.throws(() => new W.Module(bytes), { instanceOf: W.CompileError, message: /^WebAssembly\.Module\(\): / })
  await t.throwsAsync(W.compile(bytes), { instanceOf: W.CompileError, message: /^WebAssembly\.compile\(\): / })
})

ours('a module tells its tier', async (t) => {
  const module = new W.Module(assemble('(func (export "f") (result i32) i32.const 1)'))
  t.true(['baseline', 'optimized'].includes(W.Module.tier(module)))
  await W.Module.optimized(module)
  t.throws(() => W.Module.tier({}), { instanceOf: TypeError })
})
