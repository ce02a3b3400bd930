'use strict'
// The classes and functions of the WebAssembly JavaScript API. Every expectation is the specification's and holds for
// the engine Node has, too: ENGINE=builtin npx ava __test__/api.test.js. What only this package does is at the end.

const test = require('ava')
const initWabt = require('wabt')

const onBuiltin = process.env.ENGINE === 'builtin'
const builtin = globalThis.WebAssembly
const W = onBuiltin ? builtin : require('../index.js')
const ours = onBuiltin ? test.skip : test

let wabt
test.before(async () => {
  wabt = await initWabt()
})

function assemble(wat) {
  const module = wabt.parseWat('test.wat', `(module ${wat})`, { exceptions: true, threads: true })
  try {
    return module.toBinary({}).buffer
  } finally {
    module.destroy()
  }
}

const instantiate = (wat, imports) => new W.Instance(new W.Module(assemble(wat)), imports).exports

const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])

// ── Module ──────────────────────────────────────────────────────────────────────────────────────────────────────────

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

test('validate answers, and throws only for what is no buffer source', (t) => {
  t.true(W.validate(EMPTY))
  t.false(W.validate(new Uint8Array([1, 2, 3])))
  t.false(W.validate(new Uint8Array()))
  t.throws(() => W.validate('x'), { instanceOf: TypeError })
})

test('classes want new, and their methods their own objects', (t) => {
  for (const name of ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag']) {
    t.throws(() => Reflect.apply(W[name], undefined, [{}]), {
      instanceOf: TypeError,
      message: `WebAssembly.${name}(): WebAssembly.${name} must be invoked with 'new'`,
    })
  }
  for (const name of ['imports', 'exports', 'customSections']) {
    t.throws(() => W.Module[name]({}, 'x'), {
      instanceOf: TypeError,
      message: `WebAssembly.Module.${name}(): Argument 0 must be a WebAssembly.Module`,
    })
  }
  for (const [name, method] of [
    ['Table', 'get'],
    ['Table', 'set'],
    ['Table', 'grow'],
    ['Memory', 'grow'],
    ['Global', 'valueOf'],
  ]) {
    t.throws(() => Reflect.apply(W[name].prototype[method], {}, [0]), {
      instanceOf: TypeError,
      message: `WebAssembly.${name}.${method}(): Receiver is not a WebAssembly.${name}`,
    })
  }
  class Mine extends W.Module {}
  t.true(new Mine(EMPTY) instanceof Mine)
})

// ── compile and instantiate ─────────────────────────────────────────────────────────────────────────────────────────

test('compile copies the bytes at the call', async (t) => {
  const bytes = assemble('(func (export "f"))')
  const promise = W.compile(bytes)
  bytes.fill(0)
  t.deepEqual(W.Module.exports(await promise), [{ name: 'f', kind: 'function' }])
})

test('compile and instantiate reject, never throw', async (t) => {
  await t.throwsAsync(W.compile(), { instanceOf: TypeError })
  await t.throwsAsync(W.compile(new ArrayBuffer(0)), { instanceOf: W.CompileError })
  await t.throwsAsync(W.instantiate(), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(EMPTY, null), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(new W.Module(EMPTY), 1), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(assemble('(import "a" "f" (func))')), { instanceOf: TypeError })
  await t.throwsAsync(W.instantiate(assemble('(import "a" "f" (func))'), { a: {} }), { instanceOf: W.LinkError })
})

test('instantiate gives an Instance for a Module, both for bytes', async (t) => {
  const bytes = assemble('(func (export "f") (result i32) i32.const 42)')
  const both = await W.instantiate(bytes)
  t.deepEqual(Object.keys(both), ['module', 'instance'])
  t.true(both.module instanceof W.Module)
  t.is(both.instance.exports.f(), 42)
  const instance = await W.instantiate(both.module)
  t.true(instance instanceof W.Instance)
  t.is(instance.exports.f(), 42)
  t.not(instance.exports.f, both.instance.exports.f)
})

test('instantiate of a Module reads the imports before it returns', async (t) => {
  const module = new W.Module(assemble('(import "a" "g" (global i32))'))
  let read = false
  const promise = W.instantiate(module, {
    get a() {
      read = true
      return { g: 1 }
    },
  })
  t.true(read)
  await promise
})

// ── Instance ────────────────────────────────────────────────────────────────────────────────────────────────────────

test('exports are a frozen object without a prototype', (t) => {
  const exported = instantiate('(func $f (export "f")) (export "g" (func $f)) (func (export "__proto__"))')
  t.is(Object.getPrototypeOf(exported), null)
  t.true(Object.isFrozen(exported))
  t.deepEqual(Reflect.ownKeys(exported), ['f', 'g', '__proto__'])
  t.is(exported.f, exported.g)
  const instance = new W.Instance(new W.Module(EMPTY))
  t.is(instance.exports, instance.exports)
})

test('a missing or wrong import is named', (t) => {
  const link = (type, value) => () => instantiate(`(import "env" "f" ${type})`, { env: { f: value } })
  const cases = [
    ['(func)', {}, 'function import requires a callable'],
    ['(table 1 funcref)', {}, 'table import requires a WebAssembly.Table'],
    ['(memory 1)', {}, 'memory import must be a WebAssembly.Memory object'],
    ['(tag)', {}, 'tag import requires a WebAssembly.Tag'],
    ['(global i32)', 1n, 'global import must be a number, valid Wasm reference, or WebAssembly.Global object'],
    ['(global i64)', 1, 'global import must be a number, valid Wasm reference, or WebAssembly.Global object'],
    ['(global (mut i32))', 1, 'imported mutable global must be a WebAssembly.Global object'],
    ['(global i32)', new W.Global({ value: 'i64' }), 'imported global does not match the expected type'],
    ['(global i32)', new W.Global({ value: 'i32', mutable: true }), 'imported global does not match the expected mutability'],
    ['(table 1 externref)', new W.Table({ element: 'anyfunc', initial: 1 }), 'imported table does not match the expected type'],
    ['(func)', instantiate('(func (export "f") (param i32))').f, 'imported function does not match the expected type'],
    ['(tag)', new W.Tag({ parameters: ['i32'] }), 'imported tag does not match the expected type'],
  ]
  for (const [type, value, message] of cases) {
    const error = t.throws(link(type, value), { instanceOf: W.LinkError }, type)
    // V8 up to 12 says `module="env" function="f" error:`.
    t.regex(error.message, /^WebAssembly\.Instance\(\): Import #0 (module=)?"env" (function=)?"f"/)
    t.true(error.message.endsWith(message), error.message)
  }
  t.throws(() => instantiate('(import "env" "f" (func))'), { instanceOf: TypeError })
  t.throws(() => instantiate('(import "env" "f" (func))', {}), { instanceOf: TypeError, message: /"env"/ })
})

test('limits of imported memories and tables are checked', (t) => {
  const memory = (limits, descriptor) => () =>
    instantiate(`(import "m" "m" (memory ${limits}))`, { m: { m: new W.Memory(descriptor) } })
  const table = (limits, descriptor) => () =>
    instantiate(`(import "m" "t" (table ${limits} funcref))`, { m: { t: new W.Table({ element: 'anyfunc', ...descriptor }) } })
  for (const link of [memory, table]) {
    t.throws(link('2', { initial: 1 }), { instanceOf: W.LinkError, message: /smaller than/ })
    t.throws(link('1 4', { initial: 1 }), { instanceOf: W.LinkError, message: /no maximum/ })
    t.throws(link('1 4', { initial: 1, maximum: 5 }), { instanceOf: W.LinkError, message: /larger maximum size 5/ })
    t.notThrows(link('1 4', { initial: 1, maximum: 4 }))
    t.notThrows(link('1', { initial: 3, maximum: 4 }))
  }
  t.throws(memory('1 4', { initial: 1, maximum: 4, shared: true }), { instanceOf: W.LinkError, message: /shared state/ })
})

test('the start function runs once, with the exports not yet handed out', (t) => {
  const calls = []
  const wat = '(import "a" "f" (func $f (param i32))) (func $s i32.const 7 call $f) (start $s)'
  instantiate(wat, { a: { f: (x) => calls.push(x) } })
  t.deepEqual(calls, [7])
  const error = new Error('from start')
  const thrown = t.throws(() =>
    instantiate(wat, {
      a: {
        f() {
          throw error
        },
      },
    })
  )
  t.is(thrown, error)
})

// ── Functions ───────────────────────────────────────────────────────────────────────────────────────────────────────

test('an exported function is a plain function named by its index', (t) => {
  const { a, b } = instantiate('(func) (func (export "a") (param i32 i64) (result i32) i32.const 1) (func (export "b"))')
  t.is(a.name, '1')
  t.is(a.length, 2)
  t.is(b.name, '2')
  t.is(b.length, 0)
  t.false('prototype' in a)
  t.throws(() => new a(), { instanceOf: TypeError })
  t.deepEqual(Object.getOwnPropertyDescriptor(a, 'name'), { value: '1', writable: false, enumerable: false, configurable: true })
  t.is(b(), undefined)
})

test('i32 arguments are coerced by ToInt32, for every arity', (t) => {
  for (const arity of [0, 1, 2, 3, 4, 5, 6]) {
    const sum = `i32.const 0 ${Array.from({ length: arity }, (_, k) => `local.get ${k} i32.add`).join(' ')}`
    const { f } = instantiate(`(func (export "f") ${'(param i32)'.repeat(arity)} (result i32) ${sum})`)
    const args = [1, '2', 2.9, true, 2 ** 32 + 5, { valueOf: () => -3 }].slice(0, arity)
    const expected = [1, 2, 2, 1, 5, -3].slice(0, arity).reduce((a, b) => a + b, 0)
    t.is(f(...args), expected)
    t.is(f(...args, 1000), expected)
    t.is(f(), 0)
  }
  const { id } = instantiate('(func (export "id") (param i32) (result i32) local.get 0)')
  t.is(id(2 ** 31), -(2 ** 31))
  t.is(id(NaN), 0)
  t.is(id(null), 0)
  t.throws(() => id(1n), { instanceOf: TypeError, message: 'Cannot convert a BigInt value to a number' })
  t.throws(() => id(Symbol('x')), { instanceOf: TypeError })
})

test('i32 functions without a result', (t) => {
  for (const arity of [1, 2, 3, 4]) {
    const wat = `(import "a" "f" (func $f ${'(param i32)'.repeat(arity)}))
      (func (export "g") ${'(param i32)'.repeat(arity)} ${Array.from({ length: arity }, (_, k) => `local.get ${k}`).join(' ')} call $f)`
    let seen
    const { g } = instantiate(wat, { a: { f: (...args) => (seen = args) } })
    t.is(g(...[1, 2.5, '3', -1].slice(0, arity)), undefined)
    t.deepEqual(seen, [1, 2, 3, -1].slice(0, arity))
  }
})

test('values of every number type go both ways', (t) => {
  const types = ['i64', 'f32', 'f64']
  const wat = [
    ...types.map((type) => `(import "a" "${type}" (func $${type} (param ${type}) (result ${type})))`),
    ...types.map((type) => `(func (export "${type}") (param ${type}) (result ${type}) local.get 0 call $${type})`),
  ].join('\n')
  const seen = []
  const record = (value) => {
    seen.push(value)
    return value
  }
  const { i64, f32, f64 } = instantiate(wat, { a: { i64: record, f32: record, f64: record } })
  t.is(i64(2n ** 63n), -(2n ** 63n))
  t.is(i64('12'), 12n)
  t.throws(() => i64(1), { instanceOf: TypeError, message: 'Cannot convert 1 to a BigInt' })
  t.is(f32(0.1), Math.fround(0.1))
  t.true(Object.is(f64(-0), -0))
  t.is(f64('1e3'), 1000)
  t.is(f64(undefined), NaN)
  t.deepEqual(seen, [-(2n ** 63n), 12n, Math.fround(0.1), -0, 1000, NaN])
})

test('a coercion may call back into the instance', (t) => {
  const { sub } = instantiate('(func (export "sub") (param i32 i32) (result i32) local.get 0 local.get 1 i32.sub)')
  const nested = { valueOf: () => sub(100, 1) }
  t.is(sub(nested, nested), 0)
  t.is(sub(1000, nested), 901)
  t.is(sub(nested, 1), 98)
})

test('several results are an Array, and an import may give any iterable', (t) => {
  const { g } = instantiate(
    `(import "a" "f" (func $f (result i32 f64 i64))) (func (export "g") (result i32 f64 i64) call $f)`,
    { a: { f: () => result } }
  )
  let result = [1.5, '2.5', 3n]
  t.deepEqual(g(), [1, 2.5, 3n])
  result = new Set([1, 2, 3n])
  t.deepEqual(g(), [1, 2, 3n])
  result = [1, 2]
  t.throws(() => g(), { instanceOf: TypeError, message: 'multi-return length mismatch' })
  result = 1
  t.throws(() => g(), { instanceOf: TypeError, message: /not iterable/ })
  result = [1, 2, 3]
  t.throws(() => g(), { instanceOf: TypeError })
})

test('an import is called without a receiver, and its result coerced', (t) => {
  let receiver = 'none'
  let value
  const { g } = instantiate('(import "a" "f" (func $f (result i32))) (func (export "g") (result i32) call $f)', {
    a: {
      f() {
        receiver = this
        return value
      },
    },
  })
  for (const [given, expected] of [[undefined, 0], ['7', 7], [2 ** 32 + 1, 1], [{ valueOf: () => 5 }, 5], [-1.5, -1]]) {
    value = given
    t.is(g(), expected)
  }
  t.is(receiver, undefined)
  value = 1n
  t.throws(() => g(), { instanceOf: TypeError })
})

test('what an import throws goes through wasm unchanged', (t) => {
  let thrown
  const { g } = instantiate('(import "a" "f" (func $f)) (func (export "g") call $f)', {
    a: {
      f() {
        throw thrown
      },
    },
  })
  for (thrown of [new Error('x'), 'a string', undefined, null, 7]) {
    let caught = 'nothing'
    try {
      g()
    } catch (error) {
      caught = error
    }
    t.is(caught, thrown)
  }
})

test('wasm and JavaScript call each other in turns', (t) => {
  const { f } = instantiate(
    `(import "a" "f" (func $f (param i32) (result i32)))
     (func (export "f") (param i32) (result i32)
       (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
         (else (i32.add (local.get 0) (call $f (i32.sub (local.get 0) (i32.const 1)))))))`,
    { a: { f: (n) => f(n) } }
  )
  t.is(f(50), 1275)
})

test('traps are RuntimeErrors in the words of V8', (t) => {
  const { unreachable, load, divide, indirect } = instantiate(`
    (memory 1) (table 1 funcref) (type $v (func))
    (func (export "unreachable") unreachable)
    (func (export "load") (param i32) (result i32) local.get 0 i32.load)
    (func (export "divide") (param i32 i32) (result i32) local.get 0 local.get 1 i32.div_s)
    (func (export "indirect") i32.const 0 call_indirect (type $v))`)
  const trap = (message) => ({ instanceOf: W.RuntimeError, message })
  t.throws(() => unreachable(), trap('unreachable'))
  t.throws(() => load(65536), trap('memory access out of bounds'))
  t.throws(() => load(-1), trap('memory access out of bounds'))
  t.throws(() => divide(1, 0), trap('divide by zero'))
  t.throws(() => divide(-(2 ** 31), -1), trap('divide result unrepresentable'))
  t.throws(() => indirect(), { instanceOf: W.RuntimeError, message: /null function|RuntimeError|signature/ })
  t.is(load(0), 0)
})

test('externref carries any value, null apart', (t) => {
  const { id, isNull } = instantiate(`
    (func (export "id") (param externref) (result externref) local.get 0)
    (func (export "isNull") (param externref) (result i32) local.get 0 ref.is_null)`)
  for (const value of [{}, [], () => {}, 'text', 1.5, 0, -0, NaN, 1n, true, undefined, null, Symbol('s')]) {
    t.true(Object.is(id(value), value))
    t.is(isNull(value), value === null ? 1 : 0)
  }
  for (let i = 0; i < 5000; i++) {
    const object = { i }
    if (id(object) !== object) t.fail(`lost after ${i}`)
  }
})

test('funcref takes exported functions and null only', (t) => {
  const { id, f } = instantiate(`
    (func $f (export "f"))
    (func (export "id") (param funcref) (result funcref) local.get 0)`)
  t.is(id(f), f)
  t.is(id(null), null)
  for (const wrong of [() => {}, undefined, 1, {}]) t.throws(() => id(wrong), { instanceOf: TypeError })
  const other = instantiate('(func (export "g") (result i32) i32.const 9)').g
  t.is(id(other), other)
})

test('v128 cannot cross, and no argument is touched', (t) => {
  const { f } = instantiate('(func (export "f") (param v128))')
  let touched = false
  t.throws(() => f({ valueOf: () => (touched = true) }), { instanceOf: TypeError })
  t.false(touched)
})

test('an exported function passed on as an import stays the same function', (t) => {
  const a = instantiate('(func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)')
  const b = instantiate(
    `(import "a" "add" (func $add (param i32 i32) (result i32))) (export "add" (func $add))
     (func (export "inc") (param i32) (result i32) local.get 0 i32.const 1 call $add)`,
    { a }
  )
  t.is(b.add, a.add)
  t.is(b.inc(41), 42)
  // Functions of two instances that know nothing of each other.
  const c = instantiate('(func (export "neg") (param i32) (result i32) i32.const 0 local.get 0 i32.sub)')
  const d = instantiate(
    `(import "m" "inc" (func $inc (param i32) (result i32))) (import "m" "neg" (func $neg (param i32) (result i32)))
     (export "neg" (func $neg)) (func (export "f") (param i32) (result i32) local.get 0 call $inc call $neg)`,
    { m: { inc: b.inc, neg: c.neg } }
  )
  t.is(d.neg, c.neg)
  t.is(d.f(1), -2)
})

test('a JavaScript function that is exported again becomes an exported function', (t) => {
  const js = (x) => x * 2
  const { f, g } = instantiate(
    '(import "a" "f" (func $f (param i32) (result i32))) (export "f" (func $f)) (export "g" (func $f))',
    { a: { f: js } }
  )
  t.not(f, js)
  t.is(f, g)
  t.is(f.name, '0')
  t.is(f('21'), 42)
})

// ── Table ───────────────────────────────────────────────────────────────────────────────────────────────────────────

test('a Table of JavaScript holds functions and null', (t) => {
  const table = new W.Table({ element: 'anyfunc', initial: 2, maximum: 4 })
  const { f } = instantiate('(func (export "f") (result i32) i32.const 3)')
  t.is(table.length, 2)
  t.is(table.get(0), null)
  t.is(table.set(0, f), undefined)
  t.is(table.get(0), f)
  t.is(table.grow(1), 2)
  t.is(table.grow(1, f), 3)
  t.deepEqual([table.get(2), table.get(3)], [null, f])
  t.throws(() => table.grow(1), { instanceOf: RangeError, message: 'WebAssembly.Table.grow(): failed to grow table by 1' })
  t.throws(() => table.get(4), { instanceOf: RangeError })
  t.throws(() => table.set(4, null), { instanceOf: RangeError })
  t.throws(() => table.set(0, () => {}), { instanceOf: TypeError })
  t.throws(() => table.set(0, undefined), { instanceOf: TypeError })
  for (const wrong of [-1, NaN, 'x', 2 ** 32, undefined, Infinity]) t.throws(() => table.get(wrong), { instanceOf: TypeError })
  table.set(0)
  t.is(table.get(0), null)
})

test('Table descriptors are checked', (t) => {
  t.throws(() => new W.Table(), { instanceOf: TypeError })
  t.throws(() => new W.Table({ element: 'i32', initial: 1 }), { instanceOf: TypeError })
  t.throws(() => new W.Table({ element: 'anyfunc' }), { instanceOf: TypeError, message: /'initial' is required/ })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: -1 }), { instanceOf: TypeError })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: 5, maximum: 3 }), { instanceOf: RangeError })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: 10_000_001 }), { instanceOf: RangeError })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: 1 }, () => {}), { instanceOf: TypeError })
  const seen = []
  const descriptor = {
    get maximum() {
      seen.push('maximum')
      return 2
    },
    get initial() {
      seen.push('initial')
      return 1
    },
    get element() {
      seen.push('element')
      return 'externref'
    },
  }
  t.is(new W.Table(descriptor, 5).get(0), 5)
  t.deepEqual(seen, ['element', 'initial', 'maximum'])
})

test('a Table is shared by those who import it', (t) => {
  const table = new W.Table({ element: 'anyfunc', initial: 3 })
  const early = instantiate('(func (export "f") (result i32) i32.const 1)').f
  table.set(0, early)
  const wat = (at, value) => `(import "t" "t" (table 3 funcref)) (type $i (func (result i32)))
    (elem (i32.const ${at}) $f) (func $f (export "f") (result i32) i32.const ${value}) (export "t" (table 0))
    (func (export "call") (param i32) (result i32) local.get 0 call_indirect (type $i))`
  const a = instantiate(wat(1, 10), { t: { t: table } })
  const b = instantiate(wat(2, 20), { t: { t: table } })
  t.is(a.t, table)
  t.is(b.t, table)
  t.deepEqual([a.call(0), a.call(1), a.call(2), b.call(0), b.call(1), b.call(2)], [1, 10, 20, 1, 10, 20])
  t.is(table.get(0), early)
  t.is(table.get(1), a.f)
  t.is(table.get(2), b.f)
  const late = instantiate('(func (export "f") (result i32) i32.const 5)').f
  table.set(0, late)
  t.is(a.call(0), 5)
  t.is(table.get(0), late)
  table.set(1, null)
  t.throws(() => b.call(1), { instanceOf: W.RuntimeError })
  t.is(table.grow(2, b.f), 3)
  t.is(b.call(4), 20)
  t.is(table.length, 5)
})

test('a module’s own table', (t) => {
  const { t1, f, size, grow } = instantiate(`
    (table $t (export "t1") 2 5 funcref) (elem (i32.const 1) $f) (func $f (export "f"))
    (func (export "size") (result i32) table.size $t)
    (func (export "grow") (param i32) (result i32) ref.null func local.get 0 table.grow $t)`)
  t.true(t1 instanceof W.Table)
  t.is(t1.get(0), null)
  t.is(t1.get(1), f)
  t.is(grow(2), 2)
  t.is(t1.length, 4)
  t.is(t1.grow(1, f), 4)
  t.is(size(), 5)
  t.is(grow(1), -1)
  t.throws(() => t1.grow(1), { instanceOf: RangeError })
})

test('a Table of externref', (t) => {
  const object = {}
  const table = new W.Table({ element: 'externref', initial: 2 }, object)
  t.is(table.get(1), object)
  const { get, set } = instantiate(
    `(import "t" "t" (table 1 externref))
     (func (export "get") (param i32) (result externref) local.get 0 table.get 0)
     (func (export "set") (param i32 externref) local.get 0 local.get 1 table.set 0)`,
    { t: { t: table } }
  )
  t.is(get(0), object)
  set(0, 'text')
  t.is(table.get(0), 'text')
  table.set(1, null)
  t.is(get(1), null)
  table.set(1)
  t.is(get(1), undefined)
  for (let i = 0; i < 4000; i++) set(0, { i })
  t.deepEqual(get(0), { i: 3999 })
})

// ── Global ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test('a Global holds a value of its type', (t) => {
  for (const [type, value, expected] of [
    ['i32', 2 ** 31, -(2 ** 31)],
    ['i32', '3.7', 3],
    ['i32', undefined, 0],
    ['i64', 2n ** 63n, -(2n ** 63n)],
    ['i64', undefined, 0n],
    ['f32', 0.1, Math.fround(0.1)],
    ['f64', 0.1, 0.1],
    ['externref', 'x', 'x'],
    ['externref', undefined, undefined],
    ['anyfunc', null, null],
  ]) {
    t.is(new W.Global({ value: type }, value).value, expected)
    const mutable = new W.Global({ value: type, mutable: true })
    mutable.value = value === undefined ? expected : value
    t.is(mutable.valueOf(), expected)
  }
  t.is(new W.Global({ value: 'anyfunc' }).value, null)
  t.throws(() => new W.Global({ value: 'anyfunc' }, () => {}), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'i64' }, 1), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'i32' }, 1n), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'int' }), { instanceOf: TypeError })
  t.throws(() => new W.Global({ value: 'v128' }), { instanceOf: TypeError })
  const constant = new W.Global({ value: 'i32' }, 1)
  t.throws(() => (constant.value = 2), { instanceOf: TypeError, message: /Can't set the value of an immutable global/ })
})

test('a mutable Global is shared by all who import it, linked or not', (t) => {
  for (const [type, one, two] of [
    ['i32', 1, -2],
    ['i64', 1n, -2n],
    ['f32', 0.5, -2],
    ['f64', 0.1, -2],
  ]) {
    const g = new W.Global({ value: type, mutable: true }, one)
    const wat = `(import "g" "g" (global $g (mut ${type}))) (export "g" (global $g))
      (func (export "get") (result ${type}) global.get $g)
      (func (export "set") (param ${type}) local.get 0 global.set $g)`
    const a = instantiate(wat, { g: { g } })
    const b = instantiate(wat, { g: { g: a.g } })
    t.is(a.g, g)
    t.is(b.g, g)
    t.is(b.get(), one)
    a.set(two)
    t.deepEqual([g.value, a.get(), b.get()], [two, two, two])
    g.value = one
    t.deepEqual([a.get(), b.get()], [one, one])
  }
})

test('immutable globals take plain values', (t) => {
  const object = {}
  const { i, l, d, r } = instantiate(
    `(import "g" "i" (global i32)) (import "g" "l" (global i64)) (import "g" "d" (global f64)) (import "g" "r" (global externref))
     (export "i" (global 0)) (export "l" (global 1)) (export "d" (global 2)) (export "r" (global 3))`,
    { g: { i: 1.9, l: 2n, d: 0.5, r: object } }
  )
  t.deepEqual([i.value, l.value, d.value], [1, 2n, 0.5])
  t.is(r.value, object)
  t.true(i instanceof W.Global)
})

test('globals of references keep identity', (t) => {
  const object = {}
  const a = instantiate(`
    (global (export "f0") funcref (ref.func $f)) (func $f (export "f"))
    (global $r (export "r") (mut externref) (ref.null extern))
    (func (export "get") (result externref) global.get $r)`)
  t.is(a.f0.value, a.f)
  t.is(a.r.value, null)
  a.r.value = object
  t.is(a.get(), object)
  const b = instantiate('(import "a" "f0" (global funcref)) (export "f0" (global 0)) (func (export "get") (result funcref) global.get 0)', { a })
  t.is(b.f0, a.f0)
  t.is(b.get(), a.f)
})

// ── Memory ──────────────────────────────────────────────────────────────────────────────────────────────────────────

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

// ── Tag and Exception ───────────────────────────────────────────────────────────────────────────────────────────────

test('a wasm exception arrives as WebAssembly.Exception', (t) => {
  const tag = new W.Tag({ parameters: ['i32', 'f64'] })
  const exported = instantiate(
    `(import "e" "t" (tag $t (param i32 f64))) (tag $own (export "own") (param i32))
     (export "t" (tag $t))
     (func (export "throw") i32.const 5 f64.const 0.5 throw $t)
     (func (export "throwOwn") i32.const 6 throw $own)`,
    { e: { t: tag } }
  )
  t.is(exported.t, tag)
  const error = t.throws(() => exported.throw(), { any: true })
  t.true(error instanceof W.Exception)
  t.true(error.is(tag))
  t.deepEqual([error.getArg(tag, 0), error.getArg(tag, 1)], [5, 0.5])
  const own = t.throws(() => exported.throwOwn(), { any: true })
  t.true(exported.own instanceof W.Tag)
  t.true(own.is(exported.own))
  t.false(own.is(tag))
  t.is(own.getArg(exported.own, 0), 6)
})

test('an Exception of JavaScript goes through wasm as it is', (t) => {
  const tag = new W.Tag({ parameters: ['i32'] })
  const exception = new W.Exception(tag, [3])
  const { g } = instantiate('(import "a" "t" (tag (param i32))) (import "a" "f" (func $f)) (func (export "g") call $f)', {
    a: {
      t: tag,
      f() {
        throw exception
      },
    },
  })
  const caught = t.throws(() => g(), { any: true })
  t.true(caught.is(tag))
  t.is(caught.getArg(tag, 0), 3)
})

test('Tag descriptors are checked', (t) => {
  for (const wrong of [undefined, {}, { parameters: 1 }, { parameters: ['int'] }]) {
    t.throws(() => new W.Tag(wrong), { instanceOf: TypeError })
  }
})

// ── What only this package does ─────────────────────────────────────────────────────────────────────────────────────

/** Own keys with their attributes; for functions name, length and constructibility instead of identity. */
function shape(object) {
  const entries = Reflect.ownKeys(object).map((key) => {
    const { value, get, set, ...attributes } = Object.getOwnPropertyDescriptor(object, key)
    const describe = (f) => (typeof f === 'function' ? [f.name, f.length, 'prototype' in f] : typeof f)
    return [String(key), { ...attributes, value: describe(value), get: describe(get), set: describe(set) }]
  })
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)))
}

ours('install puts a namespace in place that looks like the built-in', (t) => {
  W.install()
  const namespace = globalThis.WebAssembly
  W.install()
  t.is(globalThis.WebAssembly, namespace)
  t.not(namespace, builtin)
  // Stack switching is absent, so that programs that look for it do without.
  const { Suspending: _s, promising: _p, SuspendError: _e, ...members } = shape(builtin)
  t.deepEqual(shape(namespace), members)
  t.is(namespace.Module, W.Module)
  for (const name of ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag']) {
    const { tier: _t, optimized: _o, ...statics } = shape(namespace[name])
    // V8's constructors are sloppy-mode functions.
    const { arguments: _a, caller: _c, ...theirs } = shape(builtin[name])
    t.deepEqual(statics, theirs, name)
    t.deepEqual(shape(namespace[name].prototype), shape(builtin[name].prototype), name)
  }
  W.uninstall()
  W.uninstall()
  t.is(globalThis.WebAssembly, builtin)
})

ours('options are checked by name and by type', async (t) => {
  const invalid = (code, message) => ({ instanceOf: TypeError, code, message })
  await t.throwsAsync(W.compile(EMPTY, { partion: 'x' }), invalid('ERR_INVALID_ARG_VALUE', /"partion"/))
  await t.throwsAsync(W.compile(EMPTY, { partition: 1 }), invalid('ERR_INVALID_ARG_TYPE', /"partition"/))
  await t.throwsAsync(W.compile(EMPTY, { cache: 'sometimes' }), invalid('ERR_INVALID_ARG_VALUE', /"cache"/))
  await t.throwsAsync(W.compile(EMPTY, { minSize: '1' }), invalid('ERR_INVALID_ARG_TYPE', /"minSize"/))
  await t.throwsAsync(W.compile(EMPTY, { minSize: -1 }), invalid('ERR_INVALID_ARG_VALUE', /"minSize"/))
  await t.throwsAsync(W.compile(EMPTY, { optimize: 1 }), invalid('ERR_INVALID_ARG_TYPE', /"optimize"/))
  await t.throwsAsync(W.compile(EMPTY, { signal: {} }), invalid('ERR_INVALID_ARG_TYPE', /"signal"/))
  await t.throwsAsync(W.compile(EMPTY, null), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => new W.Module(EMPTY, { partion: 'x' }), { code: 'ERR_INVALID_ARG_VALUE' })
  const options = { partition: 'p', cache: 'read-only', minSize: Infinity, optimize: false }
  t.true((await W.compile(EMPTY, options)) instanceof W.Module)
})

ours('a signal ends compile with its reason', async (t) => {
  const reason = new Error('enough')
  await t.throwsAsync(W.compile(EMPTY, { signal: AbortSignal.abort(reason) }), { is: reason })
  const controller = new AbortController()
  const promise = W.compile(EMPTY, { signal: controller.signal })
  controller.abort(reason)
  await t.throwsAsync(promise, { is: reason })
})

ours('tables of instances that were never linked cannot be mixed', (t) => {
  const wat = '(table (export "t") 1 funcref)'
  const a = instantiate(wat)
  const b = instantiate(wat)
  const mix = () => instantiate('(import "a" "t" (table 1 funcref)) (import "b" "t" (table 1 funcref))', { a, b })
  t.throws(mix, { instanceOf: W.LinkError, message: /Import #1 .*"b".*"t".*Import #0 .*"a".*"t"/ })
})

ours('a module tells its tier', async (t) => {
  const module = new W.Module(assemble('(func (export "f") (result i32) i32.const 1)'))
  t.true(['baseline', 'optimized'].includes(W.Module.tier(module)))
  await W.Module.optimized(module)
  t.throws(() => W.Module.tier({}), { instanceOf: TypeError })
})
