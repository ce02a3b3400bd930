'use strict'
// Objects of the API that go into vm contexts of a program that installed us, and come out of them. What the built-in gives is
// what is expected.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const initWabt = require('wabt')

const { environment } = require('./support/commands.js')
const { REGISTER } = require('./support/programs.js')
const { remove } = require('./support/remove.js')

const CHILDREN = path.join(__dirname, 'children')

const SUBJECT = `(module
  (import "env" "log" (func $log (param i32)))
  (import "env" "memory" (memory 1 4))
  (tag $tag (export "tag") (param i32))
  (type $unary (func (param i32) (result i64)))
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $run)
  (global $count (export "count") (mut i32) (i32.const 0))
  (func $run (export "run") (param i32) (result i64)
    (call $log (local.get 0))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 8) (local.get 0))
    (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 10000000000)))
  (func (export "several") (result i32 i32) (i32.const 1) (i32.const 2))
  (func (export "trap") unreachable)
  (func (export "raise") (param i32) (throw $tag (local.get 0)))
  (func (export "through") (param i32 i32) (result i64) (call_indirect (type $unary) (local.get 1) (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))`

const LINKER = `(module
  (type $unary (func (param i32) (result i64)))
  (import "m" "run" (func $run (param i32) (result i64)))
  (import "m" "raise" (func $raise (param i32)))
  (import "m" "table" (table $table 2 funcref))
  (import "m" "count" (global $count (mut i32)))
  (import "m" "tag" (tag $tag (param i32)))
  (export "table" (table $table))
  (export "again" (func $run))
  (func (export "call") (param i32) (result i64) (call $run (local.get 0)))
  (func (export "indirect") (param i32) (result i64) (call_indirect (type $unary) (local.get 0) (i32.const 0)))
  (func (export "count") (result i32) (global.set $count (i32.add (global.get $count) (i32.const 100))) (global.get $count))
  (func (export "raise") (param i32) (call $raise (local.get 0))))`

const at = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-contexts-'))
test.after.always(() => remove(at))

let files
async function told(flags, name = 'contexts.js') {
  const argv = [...flags, path.join(CHILDREN, name), ...files]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { env: environment({}), maxBuffer: 2 ** 26 })
  return JSON.parse(stdout)
}

let plain
let ours
test.before(async () => {
  const { parseWat } = await initWabt()
  files = [SUBJECT, LINKER].map((text, index) => {
    const section = Buffer.concat([Buffer.of(0, 14, 8), Buffer.from('greetinghello')])
    const file = path.join(at, `${index}.wasm`)
    fs.writeFileSync(file, Buffer.concat([parseWat('test.wat', text, { exceptions: true }).toBinary({}).buffer, section]))
    return file
  })
  plain = await told([])
  ours = await told(['--require', REGISTER])
})

for (const part of ['contextified', 'afterEvaluate', 'out', 'in', 'between', 'ways', 'forbidden', 'stacks', 'shapes']) {
  test(`as the built-in: ${part}`, (t) => {
    t.truthy(plain[part])
    t.deepEqual(ours[part], plain[part])
  })
}

test('a context has this package as soon as it uses WebAssembly', (t) => {
  t.deepEqual(
    [plain.engines, ours.engines],
    [
      ['built-in', 'built-in'],
      ['ours', 'ours'],
    ]
  )
})

test('contexts are collected, with what was made in them', async (t) => {
  const [alive, own] = await Promise.all(
    [[], ['--require', REGISTER]].map((flags) => told(['--expose-gc', ...flags], 'contexts-collected.js'))
  )
  t.is(alive.contexts, 0)
  t.deepEqual(own, alive)
})

test('uninstall() leaves node:vm as it was', async (t) => {
  const vm = require('node:vm')
  const { createContext } = vm
  const before = [vm, vm.Script.prototype].map((object) => Object.getOwnPropertyDescriptors(object))
  const { WebAssembly: own, install, uninstall } = require('../index.js')
  const count = () => vm.runInNewContext('String(Object.getOwnPropertyDescriptor(WebAssembly, "Module").get)')
  t.is(count(), 'undefined')
  install()
  try {
    t.is(globalThis.WebAssembly, own)
    t.not(vm.createContext, createContext)
    t.is((await import('node:vm')).createContext, vm.createContext)
    t.not(count(), 'undefined')
  } finally {
    uninstall()
  }
  t.deepEqual(
    [vm, vm.Script.prototype].map((object) => Object.getOwnPropertyDescriptors(object)),
    before
  )
  t.is((await import('node:vm')).createContext, createContext)
  t.is(count(), 'undefined')
})

test('where its files cannot be read, a context has the built-in', async (t) => {
  const program = `
    const fs = require('node:fs')
    const vm = require('node:vm')
    vm.createContext()
    const { readFileSync } = fs
    fs.readFileSync = () => { throw Object.assign(new Error('too many open files'), { code: 'EMFILE' }) }
    process.on('warning', ({ name, code, message }) => console.log(JSON.stringify([name, code, message])))
    console.log(vm.runInNewContext('[typeof WebAssembly.Module.tier, WebAssembly.validate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))].join()'))
    fs.readFileSync = readFileSync
    console.log(vm.runInNewContext('typeof WebAssembly.Module.tier'))`
  const { stdout } = await promisify(execFile)(process.execPath, ['--require', REGISTER, '-e', program], { env: environment({}) })
  const [seen, later, warning] = stdout.trim().split('\n')
  t.deepEqual([seen, later], ['undefined,true', 'function'])
  t.deepEqual(JSON.parse(warning), [
    'WasmCompileCacheWarning',
    'ERR_WASM_CONTEXT',
    'A vm context keeps the built-in WebAssembly: too many open files',
  ])
})

test('copies that a test runner loads in a context, beside the one that is there', async (t) => {
  const { ours: copy, builtin, after } = await told(['--require', REGISTER], 'drop-in/realms.js')
  t.is(builtin.inside.seen.engine, 'ours')
  t.deepEqual(copy, builtin)
  t.deepEqual(after.ours, after.builtin)
})
