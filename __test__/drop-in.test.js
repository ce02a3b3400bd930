'use strict'
// A program that knows nothing of this package cannot tell: every way to load it, several copies of it, threads,
// processes and realms. What the built-in gives is what is expected.

const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const test = require('ava')

const { TEXT } = require('./children/drop-in/outcome.js')
const { folder } = require('./support/commands.js')
const { REGISTER, ROOT, moduleFile, program } = require('./support/programs.js')

/** What a program saw on our engine is what it saw on the built-in. */
function same(t, seen, builtin, message) {
  t.is(seen.engine, 'ours', message)
  t.deepEqual({ ...seen, engine: builtin.engine }, builtin, message)
}

// ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

const url = pathToFileURL(REGISTER).href
const ways = {
  '--require with a path': { flags: ['--require', REGISTER] },
  '--require with a name': { flags: ['--require', 'wasm-compile-cache/register'] },
  '--import with a URL': { flags: ['--import', url] },
  '--import with a name': { flags: ['--import', 'wasm-compile-cache/register'] },
  'NODE_OPTIONS with --require': { env: { NODE_OPTIONS: `--require ${JSON.stringify(REGISTER)}` } },
  'NODE_OPTIONS with --import': { env: { NODE_OPTIONS: `--import ${JSON.stringify(url)}` } },
  'all of them at once': {
    flags: ['--require', REGISTER, '--import', url, '--require', 'wasm-compile-cache/register'],
    env: { NODE_OPTIONS: `--require ${JSON.stringify(REGISTER)} --import ${JSON.stringify(url)}` },
  },
}

for (const [way, settings] of Object.entries(ways)) {
  test(`loaded by ${way}`, async (t) => {
    const file = await moduleFile(t, TEXT)
    const builtin = await program('program.js', [file])
    t.is(builtin.told.here, 'built-in')
    const { told, stderr } = await program('program.js', [file], settings)
    t.is(told.here, 'ours')
    same(t, told.seen, builtin.told.seen)
    t.is(stderr, '')
  })
}

test('install() and uninstall() can be called any number of times, and leave the property as it was', (t) => {
  const W = require('../index.js')
  const builtin = globalThis.WebAssembly
  const before = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')
  t.teardown(() => Object.defineProperty(globalThis, 'WebAssembly', before))
  W.uninstall()
  t.is(globalThis.WebAssembly, builtin)
  W.install()
  W.install()
  t.is(globalThis.WebAssembly, W.WebAssembly)
  t.deepEqual(Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly'), { ...before, value: W.WebAssembly })
  const memory = new WebAssembly.Memory({ initial: 1 })
  W.uninstall()
  t.deepEqual(Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly'), before)
  W.uninstall()
  t.is(globalThis.WebAssembly, builtin)
  t.is(memory.grow(1), 1)
  // Somebody else's replacement is not ours to remove.
  W.install()
  const stranger = { ...W.WebAssembly }
  globalThis.WebAssembly = stranger
  W.uninstall()
  t.is(globalThis.WebAssembly, stranger)
})

// ── Modules that Node itself loads ──────────────────────────────────────────────────────────────────────────────────

const IMPORTED = `(module
  (import "./tick.mjs" "tick" (func $tick (param i32) (result i32)))
  (global (export "seven") i32 (i32.const 7))
  (func (export "add") (param i32 i32) (result i32) (call $tick (i32.add (local.get 0) (local.get 1)))))`

const IMPORTERS = {
  'import of a .wasm file': {
    told: [['add', 'seven'], 6, 7],
    code: `import * as wasm from './module.wasm'
    console.log(JSON.stringify([Object.keys(wasm), wasm.add(1, 2), Number(wasm.seven)]))`,
  },
  'import source of a .wasm file': {
    told: [true, '[object WebAssembly.Module]', -3],
    code: `import source module from './module.wasm'
    const { exports } = new WebAssembly.Instance(module, { './tick.mjs': { tick: (x) => -x } })
    console.log(JSON.stringify([module instanceof WebAssembly.Module, String(module), exports.add(1, 2)]))`,
  },
}

for (const [what, { told, code }] of Object.entries(IMPORTERS)) {
  // Node has source imports since version 24.
  if (what.startsWith('import source') && Number(process.versions.node.split('.')[0]) < 24) continue
  test(`${what} works as Node does it`, async (t) => {
    const directory = path.dirname(await moduleFile(t, IMPORTED))
    fs.writeFileSync(path.join(directory, 'tick.mjs'), 'export const tick = (x) => x * 2')
    const file = path.join(directory, 'main.mjs')
    fs.writeFileSync(file, code)
    const flags = ['--no-warnings', '--experimental-wasm-modules']
    const builtin = await program(file, [], { flags })
    const ours = await program(file, [], { flags: [...flags, '--require', REGISTER] })
    t.deepEqual(ours, builtin)
    t.deepEqual(ours.told, told)
  })
}

// ── Copies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The package as another version of it would be installed. */
function copyOf(version, into) {
  const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  const wanted = ['index.js', 'register.js', 'binding.js', 'dist', ...fs.readdirSync(ROOT).filter((name) => name.endsWith('.node'))]
  for (const name of wanted) fs.cpSync(path.join(ROOT, name), path.join(into, name), { recursive: true })
  fs.writeFileSync(path.join(into, 'package.json'), JSON.stringify({ ...manifest, version }))
  return into
}

/** Every order of `a+ a-` and `b+ b-`, uninstalls after their installs. */
function* orders(left = { a: ['+', '-'], b: ['+', '-'] }, done = []) {
  const names = Object.keys(left).filter((name) => left[name].length > 0)
  if (names.length === 0) yield done
  for (const name of names) {
    const [next, ...rest] = left[name]
    yield* orders({ ...left, [name]: rest }, [...done, `${name}${next}`])
  }
}

/** Who is in force after each step: the one that was installed last of those that are. */
function* inForce(steps) {
  const installed = []
  for (const [name, what] of steps) {
    if (what === '+') installed.push(name)
    if (what === '-') installed.splice(installed.indexOf(name), 1)
    yield installed.at(-1) ?? 'built-in'
  }
}

test('two versions in one process, loaded, installed and uninstalled in every order', async (t) => {
  t.timeout(10 * 60 * 1000)
  const file = await moduleFile(t, TEXT)
  const a = copyOf('0.1.0', path.join(folder(t), 'a'))
  const b = copyOf('0.2.0-other', path.join(folder(t), 'b'))
  const { told: builtin } = await program('program.js', [file])
  const all = [...orders()]
  t.is(all.length, 6)
  for (const order of all) {
    // With both loaded before the first is installed, and each loaded when it is needed.
    for (const steps of [['a.', 'b.', ...order], order]) {
      const { told } = await program('copies.js', [file, a, b, steps.join(' ')])
      t.deepEqual(told.versions, ['0.1.0', '0.2.0-other'])
      t.deepEqual(
        told.told.map((one) => one.inForce),
        [...inForce(steps)],
        steps.join(' ')
      )
      for (const { step, inForce: who, seen } of told.told) {
        if (who === 'built-in') t.deepEqual(seen, builtin.seen, `${steps}, after ${step}`)
        else same(t, seen, builtin.seen, `${steps}, after ${step}`)
      }
      t.true(told.isRestored)
      t.deepEqual(told.attributes[0], told.attributes[1])
    }
  }
})

// ── Threads and processes ───────────────────────────────────────────────────────────────────────────────────────────

test("a worker thread has the package, with this thread's arguments and with arguments of its own", async (t) => {
  const file = await moduleFile(t, TEXT)
  const { told: builtin } = await program('program.js', [file, 'worker'])
  t.is(builtin.seen.engine, 'built-in')
  const flags = ['--require', REGISTER]
  const { told } = await program('program.js', [file, 'worker'], { flags })
  same(t, told.seen, builtin.seen)
  const { told: bare } = await program('program.js', [file, 'bare'], { flags })
  t.is(bare.here, 'ours')
  same(t, bare.seen, builtin.seen)
})

test('a worker thread has the package by its own arguments, and the main thread keeps the built-in', async (t) => {
  const file = await moduleFile(t, TEXT)
  const { told: builtin } = await program('program.js', [file, 'worker'])
  const { told } = await program('program.js', [file, 'register'], { env: { REGISTER } })
  t.is(told.here, 'built-in')
  same(t, told.seen, builtin.seen)
})

test('a forked process has the package by NODE_OPTIONS', async (t) => {
  const file = await moduleFile(t, TEXT)
  const { told: builtin } = await program('program.js', [file, 'fork'])
  const { told } = await program('program.js', [file, 'fork'], { env: { NODE_OPTIONS: `--require ${JSON.stringify(REGISTER)}` } })
  same(t, told.seen, builtin.seen)
})

for (const [how, settings] of [
  ["the primary's arguments", { flags: ['--require', REGISTER] }],
  ['NODE_OPTIONS', { env: { NODE_OPTIONS: `--import ${JSON.stringify(url)}` } }],
]) {
  test(`the workers of a cluster have the package by ${how}`, async (t) => {
    const file = await moduleFile(t, TEXT)
    const { told: builtin } = await program('program.js', [file])
    const { told } = await program('program.js', [file, 'cluster'], settings)
    t.is(told.here, 'ours')
    t.is(told.seen.length, 2)
    for (const seen of told.seen) same(t, seen, builtin.seen)
  })
}

// ── Realms ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test('bytes, imports, functions, descriptors and memories of another realm do what they do with the built-in', async (t) => {
  const { told } = await program('realms.js', [await moduleFile(t, TEXT)])
  t.deepEqual(told.ours.foreign, told.builtin.foreign)
  t.deepEqual(told.builtin.foreign.results, ['50000000000', '60000000000'])
})

test('the package works inside a vm context, with the classes of that realm', async (t) => {
  const { told } = await program('realms.js', [await moduleFile(t, TEXT)])
  same(t, told.ours.inside.seen, told.builtin.inside.seen)
  t.deepEqual(told.ours.inside.errors, told.builtin.inside.errors)
  t.deepEqual(told.ours.inside.buffers, told.builtin.inside.buffers)
  t.true(told.ours.inside.left, 'uninstall() put the built-in of the realm back')
})

test('both realms go on, each with its own copy', async (t) => {
  const { told } = await program('realms.js', [await moduleFile(t, TEXT)])
  same(t, told.after.ours, told.after.builtin)
  t.true(told.after.untouched)
})
