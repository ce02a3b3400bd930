'use strict'
// A Module goes to other threads as the built-in's does: by structuredClone, postMessage and workerData. The receiver
// shares the native module; nothing is compiled again.

const { execFile } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const { promisify } = require('node:util')
const v8 = require('node:v8')
const vm = require('node:vm')
const { MessageChannel, Worker } = require('node:worker_threads')
const test = require('ava')
const initWabt = require('wabt')
const W = require('../index.js')

const builtin = globalThis.WebAssembly
const CHILD = path.join(__dirname, 'children/posted.js')
const REGISTER = path.join(__dirname, '../register.js')

let wabt
let bytes
let refused
test.before(async () => {
  wabt = await initWabt()
  const assemble = (wat) => wabt.parseWat('test.wat', wat, { tail_call: true }).toBinary({}).buffer
  bytes = assemble(`(module
    (import "m" "f" (func $f (param i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run") (param i32) (result i32) (i32.add (call $f (local.get 0)) (i32.const 1))))`)
  refused = assemble(`(module
    (func $same (param i32) (result i32) (local.get 0))
    (func (export "run") (param i32) (result i32) (return_call $same (local.get 0))))`)
})

v8.setFlagsFromString('--expose-gc')
const gc = vm.runInNewContext('gc')

const imports = { m: { f: (x) => x * 2 } }
const run = (module) => new W.Instance(module, imports).exports.run(20)

test('structuredClone gives a Module that is the same native one', (t) => {
  const module = new W.Module(bytes)
  for (const clone of [structuredClone(module), structuredClone({ deep: [module] }).deep[0]]) {
    t.not(clone, module)
    t.deepEqual(W.Module.imports(clone), W.Module.imports(module))
    t.is(Object.getPrototypeOf(clone), W.Module.prototype)
    t.is(run(clone), 41)
    t.is(run(structuredClone(clone)), 41)
  }
})

test('a clone is recognised by whatever takes a Module', async (t) => {
  const module = new W.Module(bytes)
  const uses = {
    Instance: (clone) => new W.Instance(clone, imports),
    instantiate: (clone) => W.instantiate(clone, imports),
    exports: (clone) => W.Module.exports(clone),
    imports: (clone) => W.Module.imports(clone),
    customSections: (clone) => W.Module.customSections(clone, 'none'),
    tier: (clone) => W.Module.tier(clone),
    optimized: (clone) => W.Module.optimized(clone),
  }
  for (const [name, use] of Object.entries(uses)) {
    const [theirs, own] = await Promise.all([use(structuredClone(module)), use(module)])
    if (typeof own === 'object' && !(own instanceof W.Instance)) t.deepEqual(theirs, own, name)
    else t.is(typeof theirs, typeof own, name)
  }
})

test('a message port carries it', async (t) => {
  const { port1, port2 } = new MessageChannel()
  port1.postMessage(new W.Module(bytes))
  const [module] = await once(port2, 'message')
  t.is(run(module), 41)
  port1.close()
})

/** A DOMException, which is not always this realm's. */
function refusal(value) {
  try {
    structuredClone(value)
    return 'cloned'
  } catch ({ name, message }) {
    return [name, message]
  }
}

test('what other threads cannot have, V8 refuses in its own words', (t) => {
  const instance = new W.Instance(new W.Module(bytes), imports)
  const objects = {
    Instance: [instance, new builtin.Instance(new builtin.Module(bytes), imports)],
    Table: ['Table', { element: 'anyfunc', initial: 1 }],
    Global: ['Global', { value: 'i32' }],
    Tag: ['Tag', { parameters: [] }],
    Memory: ['Memory', { initial: 1 }],
  }
  for (const [name, [made, descriptor]] of Object.entries(objects)) {
    const [own, theirs] = name === 'Instance' ? [made, descriptor] : [new W[name](descriptor), new builtin[name](descriptor)]
    t.deepEqual(refusal(own), refusal(theirs), name)
  }
  t.deepEqual(v8.serialize(new W.Module(bytes)), v8.serialize(new builtin.Module(bytes)))
})

test('the untouched built-in makes no instance of it, and says whose it is', (t) => {
  t.throws(() => new builtin.Instance(new W.Module(bytes), imports), { message: /wasm-compile-cache/ })
})

test('a carrier that leads nowhere is an error, not a crash', (t) => {
  const { binary, custom } = require('../dist/engine.js').load('api/binary.js')
  for (const token of ['', 'x', '00', 'ff'.repeat(16), 'zz'.repeat(16), '\u0000'.repeat(32), 'f'.repeat(1000)]) {
    const forged = new builtin.Module(binary(custom('wasm-compile-cache.module', [...Buffer.from(token)])))
    const use = () => new W.Instance(forged)
    if (token === '') t.notThrows(use, 'a section without a token names nothing')
    else t.throws(use, { instanceOf: W.CompileError, code: 'ERR_WASM_MODULE_GONE' })
  }
})

/** What ../children/posted.js found in the thread that got `modules`. */
async function inWorker(data, options = {}) {
  const worker = new Worker(CHILD, options)
  worker.postMessage(data)
  const [[found]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
  return found
}

const EXPECTED = { results: [41, 20], instances: [true, true], constructors: [true, true], compiles: 0 }

test('a worker with the package installed gets usable modules and memories', async (t) => {
  const modules = [new W.Module(bytes), new W.Module(refused, { fallback: 'builtin' })]
  const memory = new W.Memory({ initial: 1, maximum: 2, shared: true })
  const found = await inWorker({ modules, memory }, { execArgv: ['--require', REGISTER] })
  t.deepEqual(found, { ...EXPECTED, memory: true, grown: 2 })
  t.is(memory.buffer.byteLength, 2 * 65536)
  t.is(new Int32Array(memory.buffer)[0], 7)
})

test('a shared memory that JavaScript grows in one thread is as large for the code of all', async (t) => {
  const fill = `(module (import "m" "memory" (memory 1 64 shared))
    (func (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 7) (i32.const 65536)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1))))`
  const module = new W.Module(wabt.parseWat('test.wat', fill, { threads: true }).toBinary({}).buffer)
  const memory = new W.Memory({ initial: 1, maximum: 64, shared: true })
  const { exports } = new W.Instance(module, { m: { memory } })
  const filled = (page) => new Uint8Array(memory.buffer)[page * 65536 + 65535]
  const program = `
    const { parentPort, workerData: { module, memory } } = require('node:worker_threads')
    const { exports } = new WebAssembly.Instance(module, { m: { memory } })
    const steps = {
      grow: () => memory.grow(1),
      growInside: () => exports.grow(),
      fill: (page) => exports.fill(page * 65536),
    }
    parentPort.on('message', ([step, page]) => (step === 'end' ? parentPort.close() : parentPort.postMessage(steps[step](page) ?? 'done')))`
  const worker = new Worker(program, { eval: true, workerData: { module, memory }, execArgv: ['--require', REGISTER] })
  const told = async (...step) => {
    worker.postMessage(step)
    return (await once(worker, 'message'))[0]
  }
  t.is(await told('grow'), 1)
  await told('fill', 1)
  exports.fill(65536)
  t.is(await told('growInside'), 2)
  exports.fill(2 * 65536)
  t.is(memory.grow(1), 3)
  await told('fill', 3)
  t.is(exports.grow(), 4)
  await told('fill', 4)
  t.deepEqual([1, 2, 3, 4].map(filled), [7, 7, 7, 7])
  worker.postMessage(['end'])
  await once(worker, 'exit')
})

test('by workerData, and in a worker that only requires the package', async (t) => {
  const modules = [new W.Module(bytes), new W.Module(refused, { fallback: 'builtin' })]
  const memory = new W.Memory({ initial: 1, maximum: 2, shared: true })
  const worker = new Worker(CHILD, { workerData: { modules, memory }, execArgv: [] })
  const [found] = await once(worker, 'message')
  t.like(found, { results: EXPECTED.results, compiles: 0, grown: 2 })
})

test('a module arrives although the sender lets go of it at once', async (t) => {
  const { port1, port2 } = new MessageChannel()
  port1.postMessage(new W.Module(bytes))
  gc()
  await new Promise(setImmediate)
  gc()
  await new Promise(setImmediate)
  const [module] = await once(port2, 'message')
  t.is(run(module), 41)
  port1.close()
})

for (const [name, flags, options] of [
  ['that install() was called before', [], {}],
  ['with an execArgv of its own', [], { execArgv: ['--no-warnings'] }],
  ['of a program with flags that are not for threads', ['--expose-gc', '--max-old-space-size=500', '--no-warnings'], {}],
]) {
  test(`a worker ${name} has the package installed`, async (t) => {
    const program = `
      const { once } = require('node:events')
      const W = require(${JSON.stringify(path.join(__dirname, '../index.js'))})
      const threads = require('node:worker_threads')
      const { Worker } = threads
      W.install()
      const module = new WebAssembly.Module(Buffer.from(process.argv[1], 'base64'))
      const text = \`
        const { parentPort, workerData } = require('node:worker_threads')
        const { exports } = new WebAssembly.Instance(workerData, { m: { f: (x) => x * 2 } })
        parentPort.postMessage([exports.run(20), workerData instanceof WebAssembly.Module, process.execArgv.includes('--no-warnings')])
      \`
      const worker = new threads.Worker(text, { eval: true, workerData: module, ...${JSON.stringify(options)} })
      once(worker, 'message').then(([message]) => {
        W.uninstall()
        console.log(JSON.stringify([...message, worker instanceof Worker, threads.Worker === Worker]))
      })`
    const args = [...flags, '-e', program, Buffer.from(bytes).toString('base64')]
    const { stdout } = await promisify(execFile)(process.execPath, args)
    const flag = flags.includes('--no-warnings') || options.execArgv !== undefined
    t.deepEqual(JSON.parse(stdout), [41, true, flag, true, true])
  })
}
