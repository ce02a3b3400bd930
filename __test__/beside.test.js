'use strict'
// This package beside the untouched built-in: one memory under instances of both, buffers that any host allows, and Node's
// own WASI on our instances.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const W = require('../index.js')
const { assemble } = require('./children/modules.js')
const { REGISTER, ROOT, moduleFile, program } = require('./support/programs.js')

// ── Memories ────────────────────────────────────────────────────────────────────────────────────────────────────────

const accesses = (memory) => `(module
  (import "env" "memory" (memory ${memory}))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "store") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "size") (result i32) memory.size)
  (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2))))`

for (const pair of [
  ['ours', 'built-in'],
  ['built-in', 'ours'],
  ['ours', 'ours'],
]) {
  test(`what ${pair[0]} writes and grows, ${pair[1]} sees: memories of either, shared or not, here and in a worker thread`, async (t) => {
    const local = await moduleFile(t, accesses('1 10'))
    const shared = await moduleFile(t, accesses('1 10 shared'))
    const { told: expected } = await program('memories.js', [local, shared, 'built-in', 'built-in'])
    const { told } = await program('memories.js', [local, shared, ...pair])
    t.deepEqual(told, expected)
    t.deepEqual(expected.shared.posted, [[21, 1, 2, 2 * 65536, true], 2, 22, 2 * 65536])
    t.is(expected.local.posted[0], 'DataCloneError', 'a memory that is not shared cannot be posted, on any engine')
  })
}

// ── Buffers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

// Hosts with V8's sandbox (Electron) refuse an ArrayBuffer over memory that V8 did not allocate. Node marks the ones that
// an addon makes as not to be transferred: all the addon hands out can be.
test('every buffer that the addon hands out is one of V8', async (t) => {
  const binding = require('../binding.js')
  const name = Buffer.from('large')
  const contents = Buffer.alloc(1 << 20, 7)
  const leb128 = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...leb128(value >>> 7)])
  const section = Buffer.concat([Buffer.of(name.length), name, contents])
  const plain = await assemble('(module (memory (export "memory") 1))')
  const module = new W.Module(Buffer.concat([plain, Buffer.of(0, ...leb128(section.length)), section]), { cache: false })
  const found = []
  const collect = (value) => {
    if (value instanceof ArrayBuffer) found.push(value)
    else if (ArrayBuffer.isView(value)) found.push(value.buffer)
    else if (typeof value === 'object' && value !== null) Object.values(value).forEach(collect)
  }
  // Whatever the addon gives while a program runs passes through its functions.
  const original = { ...binding }
  for (const [key, f] of Object.entries(original)) {
    if (typeof f !== 'function') continue
    binding[key] = (...args) => {
      const result = f(...args)
      collect(result)
      return result
    }
  }
  t.teardown(() => Object.assign(binding, original))
  const sections = W.Module.customSections(module, 'large')
  new W.Instance(await W.compile(plain)).exports.memory.grow(1)
  collect(sections)
  t.true(found.length >= 1)
  for (const buffer of new Set(found)) {
    const { byteLength } = buffer
    t.is(structuredClone(buffer, { transfer: [buffer] }).byteLength, byteLength)
    t.is(buffer.byteLength, 0, 'it was transferred')
  }
})

// napi-rs looks every function of Node-API up by name, used or not. Those that are called are named in the source.
test('nothing in the source makes a buffer over memory that is not of V8', (t) => {
  const files = ['src', 'crates']
    .flatMap((folder) => fs.readdirSync(path.join(ROOT, folder), { recursive: true }).map((name) => path.join(folder, name)))
    .filter((name) => name.endsWith('.rs'))
  t.true(files.length > 20)
  for (const name of files) {
    const text = fs.readFileSync(path.join(ROOT, name), 'utf8')
    t.notRegex(text, /create_external_(?:array)?buffer|create_external_string|Buffer::from_data|ArrayBuffer::from_external/, name)
  }
})

// ── WASI ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const wasi = (body) => `(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  ${body})`

// Writes its last argument, from a memory that has grown since the interface was bound to it, and exits with their number.
const COMMAND = wasi(`
  (func (export "_start") (local $last i32)
    (drop (call $args_sizes_get (i32.const 0) (i32.const 4)))
    (drop (memory.grow (i32.const 2)))
    (drop (call $args_get (i32.const 65536) (i32.const 131072)))
    (local.set $last (i32.load (i32.add (i32.const 65532) (i32.mul (i32.load (i32.const 0)) (i32.const 4)))))
    (i32.store (i32.const 16) (local.get $last))
    (i32.store (i32.const 20) (i32.sub (i32.add (i32.const 131072) (i32.load (i32.const 4))) (i32.add (local.get $last) (i32.const 1))))
    (drop (call $fd_write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))
    (call $proc_exit (i32.add (i32.const 40) (i32.load (i32.const 0))))
    unreachable)`)

const REACTOR = wasi(`
  (global $started (export "started") (mut i32) (i32.const 0))
  (func (export "_initialize") (global.set $started (i32.const 1)))
  (func (export "time") (result i64)
    (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 32)))
    (i64.load (i32.const 32)))`)

test('node:wasi runs a command and a reactor on our instances', async (t) => {
  const files = [await moduleFile(t, COMMAND), await moduleFile(t, REACTOR)]
  const flags = ['--no-warnings']
  const builtin = await program('wasi.js', files, { flags })
  const ours = await program('wasi.js', files, { flags: [...flags, '--require', REGISTER] })
  t.is(ours.told.engine, 'ours')
  t.deepEqual({ ...ours.told, engine: 'built-in' }, builtin.told)
  t.is(ours.told.code, 42)
  t.true(ours.stdout.startsWith('an argument\n'))
  t.is(ours.stderr, builtin.stderr)
})
