'use strict'
// What the engine assumes of wasmer, V8, Node-API and the kernel (docs/development/assumptions.md), broken on purpose: the
// feature that relies on it is off and says why, or the call is an error. Nothing crashes, and the rest goes on.

const { execFile, execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')

const W = require('../index.js')
const { environment, folder } = require('./support/commands.js')
const { assemble } = require('./children/modules.js')

const CHILD = path.join(__dirname, 'children/assumptions.js')
const ROOT = path.join(__dirname, '..')

const { glibcVersionRuntime } = process.report.getReport().header
// What stands before the C library is C, and knows glibc's names of versions.
const fakeable = process.platform === 'linux' && glibcVersionRuntime !== undefined ? test : undefined

/** Builds ./children/fakes.c; what has a process load it. */
function faking(t) {
  const library = path.join(folder(t), 'fakes.so')
  const flags = ['-shared', '-fPIC', '-O1', '-Wall', '-Wextra', '-Werror']
  execFileSync(process.env.CC ?? 'cc', [...flags, '-o', library, path.join(__dirname, 'children/fakes.c'), '-ldl'])
  return (fake) => ({ LD_PRELOAD: library, FAKE: fake })
}

async function run(job, env = {}) {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [CHILD, job], { env: environment(env) })
  return { ...JSON.parse(stdout), stderr }
}

/** One feature is off, for one reason, and every way to hear of it says so. */
function isOff(t, { off, events }, feature, reason) {
  t.is(off.length, 1, JSON.stringify(off))
  t.is(off[0][0], feature)
  t.regex(off[0][1], reason)
  t.deepEqual(events, [{ name: 'featureOff', feature, reason: off[0][1] }])
}

const INTERRUPTING = 'interrupting WebAssembly in workers'
const NESTING = "room on V8's stack for deep calls"
const STACKS = 'room for native code at the end of a stack'

test('where all is as assumed, nothing is off', async (t) => {
  for (const job of ['stacks', 'nesting', 'worker', 'examine']) {
    const { off, events } = await run(job)
    t.deepEqual({ off, events }, { off: [], events: [] }, job)
  }
})

fakeable?.('a stack of WebAssembly without a guard page behind it: it gets no zone, and all else works', async (t) => {
  const { result: expected } = await run('stacks')
  t.is(expected.same, 3000)
  const broken = await run('stacks', faking(t)('no-guard-page'))
  isOff(t, broken, STACKS, /^a stack of WebAssembly has no guard page behind it$/)
  t.deepEqual(broken.result, expected)
})

/** Rows go in and out, and the memory grows. */
const DATABASE = `
  require('sql.js')().then(async (SQL) => {
    const database = new SQL.Database()
    database.run('CREATE TABLE t (a TEXT)')
    database.run('INSERT INTO t WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) SELECT hex(randomblob(500)) FROM n')
    const exported = database.export()
    const again = new SQL.Database(exported)
    const [{ values }] = again.exec('SELECT count(*), sum(length(a)) FROM t')
    const { cache } = require(${JSON.stringify(ROOT)})
    await cache.flush()
    console.log(JSON.stringify({ values, hits: cache.stats().process.hits }))
  })`

fakeable?.('a host without external buffers, like Electron: all works, cold and hot', async (t) => {
  const env = { ...faking(t)('no-external-buffers'), WASM_COMPILE_CACHE: folder(t), WASM_COMPILE_CACHE_FINISH: '0' }
  for (const hits of [0, 1]) {
    const args = ['--require', path.join(ROOT, 'register.js'), '-e', DATABASE]
    const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: ROOT, env: environment(env) })
    t.deepEqual(JSON.parse(stdout), { values: [[20000, 20000000]], hits })
  }
})

fakeable?.('V8 does not heed the limit of its stack: deep calls end where they do without room', async (t) => {
  const fake = faking(t)
  const { result: expected } = await run('nesting')
  for (const [name, reason] of [
    ['unheeded', /^V8 does not heed the limit/],
    ['unexported', /^this Node does not export v8::Isolate::SetStackLimit/],
  ]) {
    const broken = await run('nesting', fake(name))
    isOff(t, broken, NESTING, reason)
    t.is(broken.result.length, 3)
    for (const { levels, error } of broken.result) {
      t.is(error, 'RangeError: Maximum call stack size exceeded')
      t.true(levels > 100 && levels < expected[0].levels, `${levels}`)
    }
  }
})

fakeable?.('another isolate on the thread: its limit is left alone', async (t) => {
  const fake = faking(t)
  // Found in the first isolate, and in the middle of levels that have moved its limit.
  for (const asked of [2, 4, 10, 200]) {
    const { result, stderr } = await run('nesting', fake(`isolates=${asked}`))
    t.is(stderr, '')
    t.is(result.length, 3)
    for (const { error } of result) t.is(error, 'RangeError: Maximum call stack size exceeded')
  }
})

const workers = process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch) ? test : undefined

workers?.('interrupting workers: the switch, and a Node that nobody has seen', async (t) => {
  const usual = await run('worker')
  t.true(usual.result.signals > 0, 'a handler is there')
  for (const [job, env, reason] of [
    ['worker', { WASM_COMPILE_CACHE_INTERRUPT: '0' }, /^WASM_COMPILE_CACHE_INTERRUPT is 0$/],
    ['unknown-node', {}, /^Node 99\.1\.0 is none of those/],
  ]) {
    const off = await run(job, env)
    isOff(t, off, INTERRUPTING, reason)
    t.deepEqual(off.result, { message: 1 << 28, code: 0, signals: usual.result.signals }, 'it runs, and ends')
  }
})

fakeable?.('Node-API says of an environment that runs that it is to stop: nobody believes it', async (t) => {
  const broken = await run('worker', faking(t)('always-stopping'))
  isOff(t, broken, INTERRUPTING, /says of an environment that it is to stop, and it runs$/)
  t.like(broken.result, { message: 1 << 28, code: 0 })
})

fakeable?.(
  'Node-API does not say of an environment that ended that it was to stop: that is the last one to be watched',
  async (t) => {
    const broken = await run('worker', faking(t)('never-stopping'))
    isOff(t, broken, INTERRUPTING, /did not say of an environment that ended/)
    t.like(broken.result, { message: 1 << 28, code: 0 })
  }
)

fakeable?.('a process with a shadow stack: the package is not loaded, register leaves the program to Node', async (t) => {
  const env = environment(faking(t)('shadow-stack'))
  const node = (...argv) => promisify(execFile)(process.execPath, argv, { env, cwd: ROOT })
  const importing = await node('-p', "try { require('./index.js').compile } catch ({ code, message }) { `${code}: ${message}` }")
  t.regex(importing.stdout, /^ERR_WASM_SHADOW_STACK: This process has a shadow stack/)
  const registered = await node('--require', './register.js', '-p', "WebAssembly.validate(Buffer.from('0061736d01000000', 'hex'))")
  t.is(registered.stdout, 'true\n')
  t.regex(registered.stderr, /\[ERR_WASM_SHADOW_STACK\] WasmCompileCacheWarning: .*The program runs on Node's own engine/)
  const { code, stdout } = await node('dist/cli.js', 'doctor').catch((error) => error)
  t.is(code, 1)
  t.regex(stdout, /^wrong +addon +.*Advice: .*x86_shstk=off$/m)
})

const internal = (message) => ({ code: 'ERR_WASM_INTERNAL', name: 'Error', message })

test('an address that comes back from JavaScript is followed only if it is that of a living global', async (t) => {
  const { native } = require('../dist/engine.js').load('process/native.js')
  const owner = {}
  const group = native.groupNew(owner)
  const address = native.globalCreate(group, 'I', true)
  native.globalSet(group, address)
  native.globalGet(group, address)
  const wrong = [0, 1, 8, address + 1, address - 8, address + 2 ** 40, 2 ** 53, -1, NaN, Infinity]
  for (const number of wrong) {
    t.throws(() => native.globalGet(group, number), internal(/no such global/), `${number}`)
    t.throws(() => native.globalSet(group, number), internal(/no such global/), `${number}`)
    t.throws(() => native.functionCreate(group, number), internal(/no function of this group/), `${number}`)
  }
  t.throws(() => native.globalGet(group, `${address}`), internal(/Node-API refused a call/))
  t.truthy(owner)
})

test('a global of functions takes none of another group', (t) => {
  const { native, U32 } = require('../dist/engine.js').load('process/native.js')
  const [one, other] = [{}, {}]
  const [group, another] = [native.groupNew(one), native.groupNew(other)]
  const object = {}
  const foreign = native.hostFunctionCreate(another, ':', () => {}, object)
  const global = native.globalCreate(group, 'c', true)
  const set = (address) => {
    U32[0] = address % 2 ** 32
    U32[1] = address / 2 ** 32
    U32[2] = U32[3] = 0
    native.globalSet(group, global)
  }
  set(0)
  t.throws(() => set(foreign), internal(/not of this value/))
  t.throws(() => set(8), internal(/not of this value/))
  t.truthy([one, other, object])
})

test('an external that another addon made is not read', (t) => {
  const { native } = require('../dist/engine.js').load('process/native.js')
  // The same addon, loaded a second time from elsewhere: its values look like ours to the last byte.
  const loaded = Object.keys(require.cache).find((name) => name.endsWith('.node'))
  const copy = path.join(folder(t), 'copy.node')
  fs.copyFileSync(loaded, copy)
  const second = { exports: {} }
  process.dlopen(second, copy)
  const owner = {}
  const foreign = second.exports.groupNew(owner)
  t.throws(() => native.globalCreate(foreign, 'i', true), internal(/an external of another type/))
  const own = native.groupNew(owner)
  t.throws(() => second.exports.globalCreate(own, 'i', true), internal(/an external of another type/))
  t.true(native.globalCreate(own, 'i', true) > 0)
  t.throws(() => native.moduleTier(own), internal(/an external of another type/))
  for (const nonsense of [undefined, null, {}, 1, 'group', new Proxy({}, {})]) {
    t.throws(() => native.globalCreate(nonsense, 'i', true), internal(/Node-API refused a call/))
  }
})

test('of stacks that wait no more is read than is used', async (t) => {
  const { native } = require('../dist/engine.js').load('process/native.js')
  const owner = {}
  const group = native.groupNew(owner)
  const marks = new Uint8Array(8)
  const depth = 20
  let levels = 0
  let seen
  const bytes = await assemble('(module (import "e" "f" (func $f)) (func (export "call") (call $f)))')
  const { exports } = new W.Instance(await W.compile(bytes), {
    e: {
      f() {
        if (++levels < depth) exports.call()
        else seen = native.markReferences(group, marks, 0)
      },
    },
  })
  exports.call()
  t.is(levels, depth)
  // A stack has 4 MiB, half a million words.
  t.true(seen > 0 && seen < depth * 4096, `${seen} words`)
  t.truthy(owner)
})

const PANIC = `
  const { native } = require(${JSON.stringify(path.join(ROOT, 'dist/engine.js'))}).load('process/native.js')
  require(${JSON.stringify(path.join(ROOT, 'dist/engine.js'))}).load('events/events.js').start()
  const owner = {}
  const group = native.groupNew(owner)
  const table = native.tableCreate(group, 'r', 1, -1)
  // Called by native code while it looks at the table, which therefore nobody may change.
  Object.defineProperty(Object.prototype, 'element', { configurable: true, set() { native.tableCreate(group, 'r', 1, -1) } })
  let error
  try { native.tableType(group, table) } catch (caught) { error = caught }
  delete Object.prototype.element
  setTimeout(() => console.log(JSON.stringify({ name: error.name, code: error.code, message: error.message, owner })), 1)
`

test('a panic is an error with message and place, an event, and a line of NODE_DEBUG', async (t) => {
  const env = environment({ NODE_DEBUG: 'wasm-compile-cache' })
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['-e', PANIC], { env })
  const { name, code, message } = JSON.parse(stdout)
  t.deepEqual({ name, code }, { name: 'Error', code: 'ERR_WASM_INTERNAL' })
  t.regex(message, /^internal: the addon panicked: .*already .*borrowed.*, at .*src\/.*\.rs:\d+:\d+$/i)
  t.regex(stderr, /panicked: an error of wasm-compile-cache itself: the addon: .*borrowed.*\.rs:\d+:\d+$/m)
})

test('NODE_DEBUG and doctor say what is off', async (t) => {
  const off = { WASM_COMPILE_CACHE_INTERRUPT: '0', NODE_DEBUG: 'wasm-compile-cache' }
  const line = /featureOff: this process does without interrupting WebAssembly in workers: WASM_COMPILE_CACHE_INTERRUPT is 0/
  t.regex((await run('worker', off)).stderr, line)
  const env = environment({ WASM_COMPILE_CACHE: path.join(folder(t), 'cache'), WASM_COMPILE_CACHE_INTERRUPT: '0' })
  const { stdout } = await promisify(execFile)(process.execPath, ['dist/cli.js', 'doctor'], { env, cwd: ROOT })
  t.regex(stdout, /^- +features +without interrupting WebAssembly in workers: WASM_COMPILE_CACHE_INTERRUPT is 0$/m)
})

fakeable?.('doctor: a Node that does not do what is assumed of it', async (t) => {
  const env = environment({ WASM_COMPILE_CACHE: path.join(folder(t), 'cache'), ...faking(t)('unheeded') })
  const doctor = promisify(execFile)(process.execPath, ['dist/cli.js', 'doctor'], { env, cwd: ROOT })
  const { code, stdout } = await doctor.catch((error) => error)
  t.is(code, 1)
  t.regex(stdout, /^wrong +features +without room on V8's stack for deep calls: V8 does not heed .*Advice: /m)
})
