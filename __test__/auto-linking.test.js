'use strict'
// Modules that share tables, memories, globals and tags where each runs on the engine that is better for it (`engine: 'auto'`).

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { SIZE, auto, read, warm } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')

const MAIN = `(module
  (table (export "table") 8 funcref)
  (memory (export "memory") 1)
  (global (export "count") (mut i32) (i32.const 5))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "call") (param i32 i32) (result i32) (call_indirect (param i32) (result i32) (local.get 1) (local.get 0))))`

const SIDE = `(module
  (import "main" "table" (table 8 funcref))
  (import "main" "memory" (memory 1))
  (import "main" "count" (global $count (mut i32)))
  (import "main" "add" (func $add (param i32 i32) (result i32)))
  (elem (i32.const 2) $twice)
  (func $twice (export "twice") (param i32) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 0) (local.get 0))
    (call $add (local.get 0) (local.get 0))))`

// As Emscripten's addFunction makes them.
const FORM = '(module (func (import "e" "f") (param i32) (result i32)) (export "f" (func 0)))'

const IMPORTING = `(module
  (import "env" "table" (table 4 funcref))
  (import "env" "count" (global $count (mut i32)))
  (import "env" "memory" (memory 1))
  (elem (i32.const 1) $f)
  (func $f (result i32) (i32.const 7))
  (func (export "call") (result i32) (global.set $count (i32.const 3)) (call_indirect (result i32) (i32.const 1))))`

async function linkFiles(t) {
  const at = folder(t)
  const write = async (name, text, size) => {
    const bytes = await assemble(text)
    fs.writeFileSync(path.join(at, name), size === undefined ? bytes : padded(bytes, size))
  }
  await write('main.wasm', MAIN, SIZE)
  await write('side.wasm', SIDE)
  await write('large-side.wasm', SIDE, SIZE)
  await write('form.wasm', FORM)
  await write('importing.wasm', IMPORTING, SIZE)
  return at
}

const LINK = `
  const [at] = process.argv.slice(1)
  const bytes = (name) => fs.readFileSync(at + '/' + name + '.wasm')
  const { Module, Instance, instantiate } = WebAssembly
  async function main() {
    const early = new Module(bytes('side'))
    const main = new Instance(new Module(bytes('main'))).exports
    const results = []
    for (const make of [async () => new Instance(early, { main }), async () => new Instance(new Module(bytes('side')), { main }), async () => (await instantiate(bytes('side'), { main })).instance,
      async () => (await instantiate(bytes('large-side'), { main })).instance, async () => instantiate(early, { main })]) {
      const { exports } = await make()
      results.push(exports.twice(21), main.call(2, 4), main.count.value, new Int32Array(main.memory.buffer)[0], main.table.get(2) === exports.twice)
    }
    const { f } = new Instance(new Module(bytes('form')), { e: { f: (x) => x + 100 } }).exports
    main.table.set(3, f)
    results.push(main.call(3, 1))
    const alone = (await instantiate(bytes('form'), { e: { f: (x) => x - 1 } })).instance.exports.f
    results.push(alone(8), alone.length, typeof alone.name)
    const table = new WebAssembly.Table({ element: 'anyfunc', initial: 4 })
    table.set(3, main.add)
    const env = { table, count: new WebAssembly.Global({ value: 'i32', mutable: true }, 1), memory: new WebAssembly.Memory({ initial: 1 }) }
    const importing = new Instance(new Module(bytes('importing')), { env }).exports
    results.push(importing.call(), env.count.value, table.get(1)(), table.get(3)(2, 3), table.length, Object.prototype.toString.call(table))
    tell([results, hasAddon()])
  }
  main()`

test('modules that share tables, memories and globals link as on the built-in, whichever are ours', async (t) => {
  const at = await linkFiles(t)
  const env = { WASM_COMPILE_CACHE_FINISH: '0' }
  const { told: expected } = await auto(LINK, { cache: folder(t), flags: [], args: [at] })
  t.deepEqual((await auto(LINK, { cache: folder(t), args: [at], env })).told, [expected[0], false], 'none')
  for (const ours of [['main'], ['importing'], ['main', 'importing'], ['large-side'], ['main', 'importing', 'large-side']]) {
    const cache = folder(t)
    await warm(cache, ...ours.map((name) => path.join(at, `${name}.wasm`)))
    const { told, stderr } = await auto(LINK, { cache, args: [at], env }).catch((error) => t.fail(`${ours}: ${error.message}`))
    t.deepEqual(told, [expected[0], true], `${ours}`)
    t.is(stderr, '')
  }
})

const PROGRAMS_OWN = `
  const [at] = process.argv.slice(1)
  const bytes = (name) => fs.readFileSync(at + '/' + name + '.wasm')
  const env = { table: new WebAssembly.Table({ element: 'anyfunc', initial: 4 }), count: new WebAssembly.Global({ value: 'i32', mutable: true }, 1), memory: new WebAssembly.Memory({ initial: 1 }) }
  const module = new WebAssembly.Module(bytes('importing'))
  const { exports } = new WebAssembly.Instance(module, { env })
  tell([exports.call(), env.count.value, env.table.get(1)(), WebAssembly.Module.tier?.(module)])`

test('tables and globals that the program makes before a module of ours is there are imported by it', async (t) => {
  const at = await linkFiles(t)
  const cache = folder(t)
  await warm(cache, path.join(at, 'importing.wasm'))
  t.deepEqual((await auto(PROGRAMS_OWN, { cache, args: [at] })).told, [7, 3, 7, 'optimized'])
})

const TAGS = `
  const tag = new WebAssembly.Tag({ parameters: ['i32', 'externref'] })
  const other = new WebAssembly.Tag({ parameters: ['i32', 'anyfunc'] })
  let thrown
  const f = () => { throw thrown }
  const small = new WebAssembly.Instance(new WebAssembly.Module(${read('SMALL')}), { e: { f, tag } }).exports
  const module = new WebAssembly.Module(${read('FILE')})
  const large = new WebAssembly.Instance(module, { e: { f, tag } }).exports
  const results = []
  const object = {}
  for (const exports of [small, large]) {
    thrown = new WebAssembly.Exception(tag, [7, object])
    const [number, value] = exports.catch()
    results.push(number, value === object)
    try { exports.throw(9) } catch (error) { results.push(error.is(tag), error.getArg(tag, 0)) }
    thrown = new WebAssembly.Exception(other, [7, null])
    try { exports.catch() } catch (error) { results.push(error === thrown) }
  }
  tell([...results, WebAssembly.Module.tier?.(module)])`

test('tags that the program makes before a module of ours is there are the same to both engines', async (t) => {
  const at = folder(t)
  const files = Object.fromEntries(['small', 'large'].map((name) => [name, path.join(at, `${name}.wasm`)]))
  const bytes = await assemble(`(module (import "e" "f" (func $f)) (import "e" "tag" (tag $t (param i32 externref)))
    (func (export "throw") (param i32) (throw $t (local.get 0) (ref.null extern)))
    (func (export "catch") (result i32 externref)
      (try (result i32 externref) (do (call $f) (i32.const 0) (ref.null extern)) (catch $t))))`)
  fs.writeFileSync(files.small, bytes)
  fs.writeFileSync(files.large, padded(bytes, SIZE))
  const code = TAGS.replace('SMALL', files.small).replace('FILE', files.large)
  const cache = folder(t)
  await warm(cache, files.large)
  const expected = [7, true, true, 9, true, 7, true, true, 9, true]
  t.deepEqual((await auto(code, { cache: folder(t), flags: [] })).told.slice(0, -1), expected)
  const { told, stderr } = await auto(code, { cache })
  t.deepEqual(told, [...expected, 'optimized'])
  t.is(stderr, '')
})

test('an object of the program that has a getter in the place of a table is asked once', async (t) => {
  const at = await linkFiles(t)
  const code = `
    const [at] = process.argv.slice(1)
    const reads = []
    const main = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(at + '/main.wasm'))).exports
    const watched = new Proxy(main, { get(target, name) { reads.push(name); return target[name] } })
    const side = new WebAssembly.Module(fs.readFileSync(at + '/side.wasm'))
    const { exports } = new WebAssembly.Instance(side, { get main() { reads.push('main'); return watched } })
    tell([reads, exports.twice(4)])`
  const { told: expected } = await auto(code, { cache: folder(t), flags: [], args: [at] })
  const cache = folder(t)
  await warm(cache, path.join(at, 'main.wasm'))
  t.deepEqual((await auto(code, { cache, args: [at] })).told, expected)
  t.deepEqual((await auto(code, { cache: folder(t), args: [at], env: { WASM_COMPILE_CACHE_FINISH: '0' } })).told, expected)
})
