'use strict'
// Stacks of errors, compared with those of the built-in engine letter by letter, but for the digits that each gives a module,
// and the realm of errors.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { promisify } = require('node:util')
const vm = require('node:vm')
const test = require('ava')
const native = require('../binding.js')
const { assemble } = require('./children/modules.js')

const child = path.join(__dirname, 'children/stack.js')
const dist = path.join(__dirname, '../dist/')

/** What a child has printed, with no digits for any module. */
const parsed = (stdout) => JSON.parse(stdout.replace(/(wasm:\/\/wasm\/[^":]*?)[\da-f]{8}(?=[":])/g, '$1…'))

const stacksOf = async (tier) => parsed((await promisify(execFile)(process.execPath, [child, tier])).stdout)

const builtin = stacksOf('builtin')

for (const tiers of [['baseline'], ['lazy'], ['optimized', 'hot']]) {
  test.serial(`stacks are the built-in's: ${tiers.join(', then ')}`, async (t) => {
    t.timeout(5 * 60 * 1000)
    for (const tier of tiers) {
      const stacks = await stacksOf(tier)
      for (const [name, expected] of Object.entries(await builtin)) t.deepEqual(stacks[name], expected, `${tier}: ${name}`)
    }
  })
}

test('a module is called by its name and the first digits of its hash', async (t) => {
  const { Instance, Module } = require('../index.js')
  for (const name of ['', 'named']) {
    const bytes = await assemble(`(module ${name && `$${name}`} (func (export "f") (unreachable)))`, { names: true })
    const { stack } = t.throws(new Instance(new Module(bytes)).exports.f, { any: true })
    const called = `wasm://wasm/${name && `${name}-`}${native.hashOf(bytes).slice(0, 8)}:`
    t.true(stack.includes(called), `${stack}\n${called}`)
  }
})

const NESTED = `(module (import "m" "nest" (func $nest (param i32))) (import "m" "f" (func $f))
  (func (export "nest") (param i32) (call $nest (local.get 0)))
  (func $deep (export "deep") (param i32)
    (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))) (return)))
    (call $f)))`

/** Runs `bottom` in so many calls of wasm and JavaScript in turns; `f` is what \`deep\` calls. */
async function nested(depth, bottom, f = () => {}) {
  const { Instance, Module } = require('../index.js')
  const nest = (n) => (n === 0 ? bottom(exports) : exports.nest(n - 1))
  const { exports } = new Instance(new Module(await assemble(NESTED)), { m: { nest, f: () => f() } })
  exports.nest(depth)
}

test('no more frames are taken off the stacks than were asked for', async (t) => {
  const counts = (limit, calls) => native.traceFrames(limit, calls).map((frames) => frames.length)
  const count = () => {
    native.noteCallers()
    return [counts(10, 18), counts(3, 18), counts(10, 2), counts(0, 18)]
  }
  let within
  await nested(
    500,
    ({ deep }) => {
      t.deepEqual(count(), [Array(10).fill(1), [1, 1, 1], [1, 1], []])
      deep(400)
      t.deepEqual(within, [[10], [3], [10], []])
    },
    () => (within = count())
  )
})

test.serial('frames are taken for an error once, however many calls it leaves, and for no other value', async (t) => {
  const { traceFrames } = native
  let taken = 0
  native.traceFrames = (...limits) => {
    taken++
    return traceFrames(...limits)
  }
  const throwing = (value) => () => {
    throw value
  }
  try {
    await t.throwsAsync(nested(50, throwing(new Error('once'))), { message: 'once' })
    t.is(taken, 1)
    for (const value of [1, 'text', null, { stack: 'own' }]) await t.throwsAsync(nested(50, throwing(value)), { any: true })
    t.is(taken, 1)
  } finally {
    native.traceFrames = traceFrames
  }
})

const apiChild = path.join(__dirname, 'children/api-stacks.js')

// Node waits for V8's compilers now and then, which wait for a collection that it does not make (nodejs/node#54918).
const NO_WAITING = '--no-concurrent-recompilation'

async function apiStacksOf(engine, flags) {
  const argv = [NO_WAITING, ...flags, apiChild, engine]
  const { stdout } = await promisify(execFile)(process.execPath, argv, { maxBuffer: 16 * 1024 * 1024 })
  return parsed(stdout)
}

// The built-in's streaming functions call the program back from a file of Node's.
const withoutNode = ([name, stack]) => [
  name,
  typeof stack === 'string' ? stack.replace(/\n {4}at node:internal\/wasm_web_api:.*/g, '') : stack,
]
const isOfProgram = (frame) => !`${frame}`.startsWith('node:internal/wasm_web_api:')

for (const flags of [[], ['--enable-source-maps']]) {
  test.serial(`errors that leave the API have the built-in's stacks: node ${flags.join(' ')}`, async (t) => {
    const [expected, stacks] = await Promise.all(['builtin', 'ours'].map((engine) => apiStacksOf(engine, flags)))
    t.deepEqual(Object.keys(stacks), Object.keys(expected))
    for (const [name, [error, stack]] of Object.entries(expected)) {
      const frames = Array.isArray(stack) ? stack.filter(isOfProgram) : stack
      t.deepEqual(stacks[name].slice(0, 2), withoutNode([error, frames]), name)
    }
  })
}

// The built-in's has a line of the program above it, or of wasm.
const UNCAUGHT = {
  'new WebAssembly.Module(Buffer.of(1, 2, 3, 4))': /^CompileError: /,
  'new WebAssembly.Memory({ initial: 1, maximum: 1 }).grow(5)': /^RangeError: /,
  'new WebAssembly.Instance(new WebAssembly.Module(trapping)).exports.f()': /^RuntimeError: unreachable\n {4}at wasm:/,
}

test('above an uncaught error no line of this package is printed', async (t) => {
  const trapping = [...new Uint8Array(await assemble('(module (func (export "f") (unreachable)))'))]
  for (const [text, expected] of Object.entries(UNCAUGHT)) {
    const program = `const trapping = Uint8Array.of(${trapping}); ${text}`
    const register = path.join(__dirname, '../register.js')
    const { stderr } = await t.throwsAsync(promisify(execFile)(process.execPath, ['--require', register, '--eval', program]))
    t.regex(stderr.trim(), expected)
    t.false(stderr.includes(dist), stderr)
  }
})

/** The package's namespace, loaded into a realm of its own over the one addon, as Jest does for each test file. */
function loadInto(context) {
  const bundles = new Map()
  const bundle = (name) => {
    if (!bundles.has(name)) {
      const file = path.join(dist, name)
      const wrapper = `(function (require, module, __filename, __dirname) {${fs.readFileSync(file, 'utf8')}\n})`
      const module = { exports: {} }
      vm.runInContext(wrapper, context, { filename: file })(from, module, file, path.dirname(file))
      bundles.set(name, module.exports)
    }
    return bundles.get(name)
  }
  const from = (name) => {
    if (name.startsWith('./')) return bundle(name)
    return name.startsWith('.') ? native : require(name)
  }
  return bundle('engine.js').load('api/namespace.js')
}

test('errors are of the realm whose copy of the package the instance came from', async (t) => {
  require('../index.js')
  const context = vm.createContext({ process, performance, AbortSignal, Buffer })
  const W = loadInto(context)
  const within = (text) => vm.runInContext(text, context)
  const bytes = await assemble('(module (func (export "f") (unreachable)) (func $r (export "r") (call $r) (call $r)))')
  const { f, r } = new W.Instance(new W.Module(bytes)).exports

  const trap = t.throws(f, { any: true })
  t.true(trap instanceof within('WebAssembly.RuntimeError'))
  t.false(trap instanceof WebAssembly.RuntimeError)
  t.regex(trap.stack, /^RuntimeError: unreachable\n {4}at wasm:\/\/wasm\/[\da-f]{8}:wasm-function\[0\]:0x/)
  t.true(t.throws(r, { any: true }) instanceof within('RangeError'))

  const invalid = t.throws(() => new W.Module(Buffer.from([0, 1, 2, 3])), { any: true })
  t.true(invalid instanceof within('WebAssembly.CompileError'))
  t.is(invalid.code, 'ERR_WASM_INVALID_MODULE')
  t.false(invalid.stack.includes(dist))
  t.true((await t.throwsAsync(W.compile(Buffer.from([0, 1, 2, 3])), { any: true })) instanceof within('WebAssembly.CompileError'))

  const segment = await assemble('(module (memory 1) (data (i32.const 65536) "a"))')
  const outside = t.throws(() => new W.Instance(new W.Module(segment)), { any: true })
  t.true(outside instanceof within('WebAssembly.RuntimeError'))
  t.false(outside.stack.includes(dist))
})
