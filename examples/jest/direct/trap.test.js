'use strict'

const { Instance, Memory, Module } = require('wasm-compile-cache')

// (module (import "m" "memory" (memory 1)) (func (export "load") (param i32) (result i32) local.get 0 i32.load))
const bytes = new Uint8Array([
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f, 2, 13, 1, 1, 0x6d, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 0,
  1, 3, 2, 1, 0, 7, 8, 1, 4, 0x6c, 0x6f, 0x61, 0x64, 0, 0, 10, 9, 1, 7, 0, 0x20, 0, 0x28, 2, 0, 0x0b,
])

test('a trap is a RuntimeError of the classes this file knows', () => {
  const memory = new Memory({ initial: 1 })
  const { exports } = new Instance(new Module(bytes), { m: { memory } })
  new Uint32Array(memory.buffer)[1] = 42
  expect(exports.load(4)).toBe(42)
  expect(() => exports.load(65536)).toThrow(WebAssembly.RuntimeError)
  expect(memory).toBeInstanceOf(WebAssembly.Memory)
  expect(memory.buffer.byteLength).toBe(65536)
})
