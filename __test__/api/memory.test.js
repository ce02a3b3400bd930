'use strict'
// WebAssembly.Memory.

const test = require('ava')
const { W, assemble, builtin, instantiate } = require('../support/engine.js')

test('growing a Memory detaches its buffer, from either side', (t) => {
  const { memory, grow, size, store } = instantiate(`
    (memory (export "memory") 1 4)
    (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
    (func (export "size") (result i32) memory.size)
    (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store)`)
  t.true(memory instanceof W.Memory)
  const first = memory.buffer
  t.is(memory.buffer, first)
  store(65532, 7)
  t.is(new Int32Array(first)[16383], 7)
  t.is(memory.grow(1), 1)
  t.is(first.byteLength, 0)
  t.is(size(), 2)
  store(131068, 8)
  t.is(new Int32Array(memory.buffer)[32767], 8)
  const second = memory.buffer
  t.is(grow(1), 2)
  t.is(second.byteLength, 0)
  t.is(memory.buffer.byteLength, 3 * 65536)
  t.is(grow(2), -1)
  t.throws(() => memory.grow(2), { instanceOf: RangeError, message: 'WebAssembly.Memory.grow(): Maximum memory size exceeded' })
  t.throws(() => store(3 * 65536, 1), { instanceOf: W.RuntimeError, message: 'memory access out of bounds' })
})

const USER = `(import "m" "m" (memory 1)) (export "m" (memory 0))
  (func (export "size") (result i32) memory.size)
  (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load)
  (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store)`

test('a Memory is shared by those who import it', (t) => {
  const memory = new W.Memory({ initial: 1, maximum: 10 })
  const a = instantiate(USER, { m: { m: memory } })
  const b = instantiate(USER, { m: { m: memory } })
  t.is(a.m, memory)
  a.store(8, 42)
  t.is(b.load(8), 42)
  b.grow(1)
  t.deepEqual([a.size(), b.size()], [2, 2])
  memory.grow(1)
  t.deepEqual([a.size(), b.size()], [3, 3])
  b.store(3 * 65536 - 4, 1)
  t.is(a.load(3 * 65536 - 4), 1)
})

test('the built-in’s Memory serves both engines', (t) => {
  const memory = new builtin.Memory({ initial: 1 })
  const theirs = new builtin.Instance(new builtin.Module(assemble(USER)), { m: { m: memory } }).exports
  const mine = instantiate(USER, { m: { m: memory } })
  t.is(mine.m, memory)
  theirs.store(0, 5)
  t.is(mine.load(0), 5)
  t.is(memory.grow(2), 1)
  t.is(mine.size(), 3)
  mine.store(2 * 65536, 6)
  t.is(theirs.load(2 * 65536), 6)
  t.deepEqual(Object.keys(memory), [])
})

test('a shared Memory', (t) => {
  const memory = new W.Memory({ initial: 1, maximum: 3, shared: true })
  t.true(memory.buffer instanceof SharedArrayBuffer)
  const { load, grow } = instantiate(USER.replace('(memory 1)', '(memory 1 3 shared)'), { m: { m: memory } })
  const view = new Int32Array(memory.buffer)
  view[1] = 9
  t.is(load(4), 9)
  grow(1)
  t.is(memory.buffer.byteLength, 2 * 65536)
  t.is(view[1], 9)
  t.true(Object.isFrozen(memory.buffer))
})

test('Memory descriptors are checked', (t) => {
  t.throws(() => new W.Memory(), { instanceOf: TypeError })
  t.throws(() => new W.Memory({}), { instanceOf: TypeError })
  t.throws(() => new W.Memory({ initial: 2, maximum: 1 }), { instanceOf: RangeError })
  t.throws(() => new W.Memory({ initial: 1, shared: true }), { instanceOf: TypeError })
  class Mine extends W.Memory {}
  t.true(new Mine({ initial: 1 }) instanceof Mine)
})

test('a data segment beyond 2 GiB goes where it says', (t) => {
  const { get } = instantiate(`
    (memory 40000)
    (data (i32.const 0x90000000) "far")
    (func (export "get") (result i32) (i32.load8_u (i32.const 0x90000002)))`)
  t.is(get(), 'r'.charCodeAt(0))
})

test('a data segment out of bounds is named', (t) => {
  const binary = assemble('(memory 1) (data (i32.const 0) "in") (data (i32.const 65535) "out")')
  const numbers = Number.parseInt(process.versions.v8, 10) < 12 ? ['', ''] : [' 1', ' (offset 65535, length 3, memory size 65536)']
  t.throws(() => new W.Instance(new W.Module(binary)), {
    instanceOf: W.RuntimeError,
    message: `WebAssembly.Instance(): data segment${numbers[0]} is out of bounds${numbers[1]}`,
  })
})
