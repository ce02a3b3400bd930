'use strict'
// What this engine cannot compile: with { fallback: 'builtin' } Node's own engine compiles it and the caller cannot
// tell, with 'error' the rejection names the feature and its place. And what may cross between the two engines.

const { execFile } = require('node:child_process')
const { subscribe } = require('node:diagnostics_channel')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const { promisify } = require('node:util')
const test = require('ava')
const initWabt = require('wabt')
const { binary, functionType, importOf } = require('../dist/engine.js').load('api/binary.js')
const { environment } = require('./support/commands.js')
const { padded } = require('./support/wat.js')
const W = require('../index.js')
const { remove } = require('./support/remove.js')

const builtin = globalThis.WebAssembly
const FALLBACK = { fallback: 'builtin' }

const wabt = initWabt()
async function assemble(wat) {
  const features = { exceptions: true, tail_call: true, memory64: true, mutable_globals: true, threads: true }
  const module = (await wabt).parseWat('test.wat', `(module ${wat})`, features)
  return new Uint8Array(module.toBinary({}).buffer)
}

/** (module (type (struct (field i32))) (func (export "run") (result i32) i32.const 7 struct.new 0 struct.get 0 0)) */
const GC = Uint8Array.of(
  0,
  0x61,
  0x73,
  0x6d,
  1,
  0,
  0,
  0,
  1,
  9,
  2,
  0x5f,
  1,
  0x7f,
  0,
  0x60,
  0,
  1,
  0x7f,
  3,
  2,
  1,
  1,
  7,
  7,
  1,
  3,
  0x72,
  0x75,
  0x6e,
  0,
  0,
  10,
  13,
  1,
  11,
  0,
  0x41,
  7,
  0xfb,
  0,
  0,
  0xfb,
  2,
  0,
  0,
  0x0b
)

/** Needs the built-in engine, for its tail call. */
const REFUSED = `
  (func $answer (result i32) (i32.const 7))
  (func (export "run") (result i32) (return_call $answer))`

/** Feature -> module whose `run` returns 7. */
const modules = {
  'tail-call': assemble(`
    (func $down (param i32 i32) (result i32)
      (if (result i32) (local.get 0)
        (then (return_call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1)))
        (else (local.get 1))))
    (func (export "run") (result i32) (call $down (i32.const 100000) (i32.const 7)))`),
  memory64: assemble(`
    (memory i64 1)
    (func (export "run") (result i32)
      (i32.store8 (i64.const 5) (i32.const 7))
      (i32.load8_u (i64.const 5)))`),
  gc: Promise.resolve(GC),
}

const events = []
subscribe('wasm-compile-cache:fallback', (event) => events.push(event))

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-fallback-'))
test.after.always(() => remove(folder))

const response = (body) => new Response(body, { headers: { 'content-type': 'application/wasm' } })

/** The bytes, one a chunk. */
const dripping = (bytes) =>
  new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    },
  })

const ways = {
  Module: async (bytes, options) => new W.Module(bytes, options),
  compile: (bytes, options) => W.compile(bytes, options),
  instantiate: async (bytes, options) => (await W.instantiate(bytes, {}, options)).module,
  'a stream': (bytes, options) => W.compileStreaming(response(dripping(bytes)), options),
  'a whole response': (bytes, options) => W.compileStreaming(response(bytes), options),
  'a file: URL': (bytes, options) => {
    const file = path.join(folder, `${bytes.length}.wasm`)
    fs.writeFileSync(file, bytes)
    return W.compileStreaming(pathToFileURL(file), options)
  },
  instantiateStreaming: async (bytes, options) => (await W.instantiateStreaming(response(bytes), {}, options)).module,
}

for (const [feature, assembled] of Object.entries(modules)) {
  test.serial(`${feature}: the built-in engine takes over, and an event tells why`, async (t) => {
    const bytes = await assembled
    if (!builtin.validate(bytes)) {
      // This Node has no such feature either.
      await t.throwsAsync(W.compile(bytes, FALLBACK), { instanceOf: W.CompileError })
      t.false(W.validate(bytes, FALLBACK))
      return
    }
    for (const [name, compile] of Object.entries(ways)) {
      events.length = 0
      const module = await compile(bytes, FALLBACK)
      t.is(W.Module.tier(module), 'builtin', name)
      t.true(module instanceof W.Module, name)
      t.is(Object.getPrototypeOf(module), W.Module.prototype, name)
      const instance = new W.Instance(module)
      t.true(instance instanceof W.Instance)
      t.is(instance.exports.run(), 7, name)
      t.is(events.length, 1, name)
      const { ts, ...event } = events[0]
      t.is(typeof ts, 'number')
      t.like(event, { name: 'fallback', dur: 0, bytes: bytes.length })
      t.true(event.feature.includes(feature), `${event.feature} names ${feature}`)
      t.true(event.offset > 8 && event.offset < bytes.length)
    }
    t.true(W.validate(bytes, FALLBACK))
  })

  test.serial(`${feature}: without the fallback the error names it`, async (t) => {
    const bytes = await assembled
    events.length = 0
    for (const [name, compile] of Object.entries(ways)) {
      for (const options of [undefined, { fallback: 'error' }]) {
        const error = await t.throwsAsync(
          compile(bytes, options),
          { instanceOf: W.CompileError, code: 'ERR_WASM_UNSUPPORTED' },
          name
        )
        t.true(error.feature.includes(feature), `${error.feature} names ${feature}`)
        t.true(error.message.includes(error.feature) && error.message.endsWith(`@+${error.offset}`), error.message)
      }
    }
    t.false(W.validate(bytes))
    t.is(events.length, 0)
  })
}

test("a stream whose source fails after the unsupported feature rejects with the source's error", async (t) => {
  const bytes = await modules['tail-call']
  const mine = new Error('mine')
  async function* source() {
    yield bytes
    throw mine
  }
  t.is(await t.throwsAsync(W.compileStreaming(source(), FALLBACK)), mine)
})

test('a stream that is invalid for both engines is refused at once, fallback or not', async (t) => {
  const bytes = await modules['tail-call']
  let cancelled = false
  const stream = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.slice(0, 8))
      controller.enqueue(Uint8Array.of(1, 1, 0xff))
    },
    cancel() {
      cancelled = true
    },
  })
  await t.throwsAsync(W.compileStreaming(response(stream), FALLBACK), { instanceOf: W.CompileError })
  t.true(cancelled)
})

test('install() makes the fallback the default, uninstall() takes it back', async (t) => {
  const bytes = await modules['tail-call']
  W.install()
  try {
    t.is(new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports.run(), 7)
    t.throws(() => new WebAssembly.Module(bytes, { fallback: 'error' }), { code: 'ERR_WASM_UNSUPPORTED' })
  } finally {
    W.uninstall()
  }
  t.throws(() => new W.Module(bytes), { code: 'ERR_WASM_UNSUPPORTED' })
})

test('bytes that are changed after the call are compiled as they were', async (t) => {
  const bytes = (await modules['tail-call']).slice()
  const promise = W.compile(bytes, FALLBACK)
  bytes.fill(0)
  t.is(new W.Instance(await promise).exports.run(), 7)
})

test("refused modules get V8's words", async (t) => {
  const good = await assemble('(func (export "f") (param i32) (result i32) (local.get 0))')
  const broken = [
    [1, 2, 3, 4],
    [...good, 1],
    [...good.slice(0, 12), 0x40, ...good.slice(13)],
  ]
  for (let length = 1; length < good.length; length++) broken.push(good.slice(0, length))
  for (let at = 8; at < good.length; at++) broken.push(good.with(at, good[at] ^ 0x55))
  for (const bytes of broken.map((list) => Uint8Array.from(list))) {
    if (builtin.validate(bytes)) continue
    for (const options of [undefined, FALLBACK]) {
      const theirs = t.throws(() => new builtin.Module(bytes))
      const own = t.throws(() => new W.Module(bytes, options))
      t.deepEqual([own.name, own.message], [theirs.name, theirs.message])
      t.true(own instanceof W.CompileError)
      t.is(own.code, 'ERR_WASM_INVALID_MODULE')
      const late = await t.throwsAsync(W.compile(bytes, options))
      t.is(late.message, (await t.throwsAsync(builtin.compile(bytes))).message)
    }
  }
})

test('JS string builtins', async (t) => {
  const length = (params) => binary(functionType({ params, results: ['i'] }), importOf('wasm:js-string', 'length', 'function', [0]))
  const bytes = length(['r'])
  const options = { builtins: ['js-string'] }
  const has = builtin.Module.imports(new builtin.Module(bytes, options)).length === 0
  const module = new W.Module(bytes, { ...options, ...FALLBACK })
  t.is(W.Module.tier(module) === 'builtin', has)
  t.is(W.Module.imports(module).length, has ? 0 : 1)
  const streamed = await W.compileStreaming(response(dripping(bytes)), { ...options, ...FALLBACK })
  t.is(W.Module.imports(streamed).length, has ? 0 : 1)
  if (has) {
    t.throws(() => new W.Module(bytes, options), { code: 'ERR_WASM_UNSUPPORTED', message: /JS string builtins/ })
    t.false(W.validate(bytes, options))
  }
  // Without the option, or without such an import, they are ordinary modules.
  t.is(W.Module.imports(new W.Module(bytes)).length, 1)
  t.not(W.Module.tier(new W.Module(binary(), options)), 'builtin')
})

// Linking

/** A module that needs the built-in engine, with everything that can cross. */
const THEIRS = `
  (import "m" "f" (func $f (param i32) (result i32)))
  (import "m" "g" (global $g i32))
  (import "m" "memory" (memory 1))
  ${REFUSED}
  (func (export "call") (param i32) (result i32) (i32.add (call $f (local.get 0)) (global.get $g)))
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (global (export "constant") i64 (i64.const 77))
  (export "memory" (memory 0))`

const OURS = `
  (memory (export "memory") 1)
  (global (export "g") i32 (i32.const 1000))
  (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "poke") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))`

const instance = async (wat, imports) => new W.Instance(new W.Module(await assemble(wat), FALLBACK), imports).exports

test('functions, memories and immutable globals cross to the built-in engine and back', async (t) => {
  const ours = await instance(OURS)
  const theirs = await instance(THEIRS, { m: ours })
  t.is(theirs.call(21), 1042)
  ours.poke(5, 99)
  t.is(theirs.peek(5), 99)
  t.is(theirs.memory, ours.memory)
  t.true(theirs.constant instanceof W.Global)
  t.is(theirs.constant.value, 77n)
  const back = await instance(
    `(import "t" "call" (func $call (param i32) (result i32)))
     (import "t" "constant" (global $c i64))
     (import "t" "memory" (memory 1))
     (func (export "run") (result i64)
       (i64.add (global.get $c) (i64.extend_i32_u (i32.add (call $call (i32.const 1)) (i32.load8_u (i32.const 5))))))`,
    { t: theirs }
  )
  t.is(back.run(), 77n + 1002n + 99n)
  await t.throwsAsync(instance('(import "t" "constant" (global i32))', { t: theirs }), {
    instanceOf: W.LinkError,
    message: /does not match the expected type/,
  })
})

test('a traversing exception and a trap of either engine arrive as they are', async (t) => {
  const thrown = new Error('mine')
  const theirs = await instance(
    `(import "m" "f" (func $f)) ${REFUSED} (func (export "call") (call $f)) (func (export "trap") unreachable)`,
    {
      m: {
        f() {
          throw thrown
        },
      },
    }
  )
  const ours = await instance(
    '(import "t" "call" (func $c)) (import "t" "trap" (func $t)) (func (export "call") (call $c)) (func (export "trap") (call $t))',
    { t: theirs }
  )
  t.is(t.throws(ours.call), thrown)
  t.throws(ours.trap, { instanceOf: W.RuntimeError, message: 'unreachable' })
})

const TABLE = `(import "m" "t" (table 2 funcref)) ${REFUSED} (type $v (func (result i32))) (func $one (result i32) (i32.const 1)) (elem declare func $one)
  (func (export "call") (param i32) (result i32) (call_indirect (type $v) (local.get 0))) (func (export "put") (table.set (i32.const 1) (ref.func $one))) (export "t" (table 0))`

test('tables and mutable globals that JavaScript made go to whichever engine imports them first', async (t) => {
  const { five } = await instance('(func (export "five") (result i32) (i32.const 5))')
  const table = new W.Table({ element: 'anyfunc', initial: 2 })
  table.set(0, five)
  const theirs = await instance(TABLE, { m: { t: table } })
  t.is(theirs.call(0), 5)
  t.is(table.get(0), five)
  theirs.put()
  t.is(table.get(1)(), 1)
  t.is(theirs.t, table)
  table.set(1, five)
  t.is(theirs.call(1), 5)
  table.grow(3, five)
  t.is(theirs.call(4), 5)

  const global = new W.Global({ value: 'i32', mutable: true }, 4)
  const counter = await instance(
    `(import "m" "g" (global $g (mut i32))) ${REFUSED} (func (export "up") (global.set $g (i32.add (global.get $g) (i32.const 1))))`,
    { m: { g: global } }
  )
  counter.up()
  t.is(global.value, 5)
  const held = new W.Global({ value: 'anyfunc', mutable: true }, five)
  const holder = await instance(
    `(import "m" "g" (global $g (mut funcref))) ${REFUSED} (func (export "drop") (global.set $g (ref.null func)))`,
    { m: { g: held } }
  )
  t.is(held.value, five)
  holder.drop()
  t.is(held.value, null)
})

test('what belongs to one engine is refused by the other with a LinkError that says why', async (t) => {
  const ours = await instance('(table (export "t") 2 funcref) (global (export "g") (mut i32) (i32.const 1))')
  const theirs = await instance(`${REFUSED} (table (export "t") 2 funcref) (global (export "g") (mut i32) (i32.const 1))`)
  const mutable = '(import "m" "g" (global (mut i32)))'
  for (const [wat, m, what] of [
    [TABLE, ours, 'a table'],
    [mutable + REFUSED, ours, 'a mutable global'],
  ]) {
    const error = await t.throwsAsync(instance(wat, { m }), { instanceOf: W.LinkError })
    t.regex(
      error.message,
      new RegExp(`^WebAssembly\\.Instance\\(\\): Import "m" "[tg]": ${what} .*wasm-compile-cache.*built-in engine`)
    )
  }
  const vector = await instance('(global (export "g") v128 (v128.const i32x4 1 2 3 4))')
  const error = await t.throwsAsync(instance(`(import "m" "g" (global v128)) ${REFUSED}`, { m: vector }), {
    instanceOf: W.LinkError,
  })
  t.regex(error.message, /^WebAssembly\.Instance\(\): Import "m" "g": a global of type v128 .*wasm-compile-cache/)
  for (const [wat, what] of [
    ['(import "m" "t" (table 2 funcref))', 'a table'],
    [mutable, 'a mutable global'],
  ]) {
    const module = new W.Module(await assemble(wat))
    const error = t.throws(() => new W.Instance(module, { m: theirs }), { instanceOf: W.LinkError })
    t.regex(error.message, new RegExp(`^WebAssembly\\.Instance\\(\\): Import #0 .*: ${what} of the built-in engine`))
  }
  const table = new W.Table({ element: 'anyfunc', initial: 2 })
  table.set(0, theirs.run)
  await t.throwsAsync(instance('(import "m" "t" (table 2 funcref))', { m: { t: table } }), {
    instanceOf: W.LinkError,
    message: /element 0 of the table is a function of the built-in engine/,
  })
})

test("a module that shares state with the built-in engine's instances goes there as well, cold and hot", async (t) => {
  const main = await instance(
    `${REFUSED} (table (export "t") 2 funcref) (global (export "g") (mut i32) (i32.const 5)) (tag (export "tag") (param i32))`
  )
  const side = await assemble(`
    (import "m" "t" (table 2 funcref)) (import "m" "g" (global $g (mut i32))) (import "m" "tag" (tag (param i32)))
    (func $seven (result i32) (global.set $g (i32.const 6)) (i32.const 7))
    (elem (i32.const 0) $seven)
    (func (export "seven") (result i32) (call $seven))`)
  for (let round = 0; round < 2; round++) {
    const options = { ...FALLBACK, minSize: 0 }
    const module = await [() => W.compile(side, options), () => W.compileStreaming(response(side), options)][round]()
    t.not(W.Module.tier(module), 'builtin', 'by itself it is one of ours')
    await W.Module.optimized(module)
    const linked = new W.Instance(module, { m: main })
    t.true(linked instanceof W.Instance)
    t.is(linked.exports.seven(), 7)
    t.is(main.g.value, 6)
    t.is(main.t.get(0)(), 7)
    const later = await W.instantiate(module, { m: main })
    t.is(later.exports.seven(), 7)
  }
  const alone = new W.Module(side, { fallback: 'error', cache: false })
  t.throws(() => new W.Instance(alone, { m: main }), { instanceOf: W.LinkError, message: /built-in engine/ })
})

test('what a program tries beside an instance of ours, whose table it is to have, is refused when it is compiled', async (t) => {
  const trial = await assemble(`(import "m" "t" (table 1 funcref)) ${REFUSED}`)
  const program = `
    const W = require(${JSON.stringify(path.join(__dirname, '..'))})
    const options = { fallback: 'builtin' }
    const [main, trial, other] = process.argv.slice(1).map((hex) => Buffer.from(hex, 'hex'))
    const told = []
    const tell = (bytes) => {
      try {
        told.push(W.Module.tier(new W.Module(bytes, options)))
      } catch ({ name, code }) {
        told.push(name + ' ' + code)
      }
    }
    tell(trial)
    const { exports } = new W.Instance(new W.Module(main, options))
    tell(trial)
    tell(other)
    console.log(told.join(), exports.t.length)`
  const main = await assemble('(table (export "t") 3 funcref)')
  const bytes = [main, trial, await assemble(REFUSED)].map((one) => Buffer.from(one).toString('hex'))
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', program, ...bytes], { env: environment({}) })
  t.is(stdout.trim(), 'builtin,CompileError ERR_WASM_UNSUPPORTED,builtin 3')
})

test('names of imports that objects have from their prototype, where a module shares state', async (t) => {
  const main = await instance(`${REFUSED} (global (export "g") (mut i32) (i32.const 5))`)
  const side = await assemble(`
    (import "__proto__" "__proto__" (global (mut i32))) (import "__proto__" "valueOf" (func (result i32)))
    (import "toString" "constructor" (global (mut i32)))
    (func (export "sum") (result i32) (i32.add (global.get 0) (i32.add (global.get 1) (call 0))))`)
  const linked = new W.Instance(new W.Module(side, FALLBACK), {
    ['__proto__']: { ['__proto__']: main.g, valueOf: () => 3 },
    toString: { constructor: main.g },
  })
  t.is(linked.exports.sum(), 13)
})

test("imports of a fallback module are read in the standard's order, once, and V8 words what is wrong", async (t) => {
  const bytes = await assemble(`(import "a" "x" (func)) (import "b" "y" (func)) (import "a" "z" (global i32)) ${REFUSED}`)
  const module = new W.Module(bytes, FALLBACK)
  const theirs = new builtin.Module(bytes)
  const reads = []
  const watched = (name, target) => new Proxy(target, { get: (from, key) => (reads.push(`${name}.${key}`), from[key]) })
  const imports = () => watched('', { a: watched('a', { x() {}, z: 1 }), b: watched('b', { y() {} }) })
  new W.Instance(module, imports())
  const own = reads.splice(0)
  new builtin.Instance(theirs, imports())
  t.deepEqual(own, reads)
  for (const wrong of [undefined, {}, { a: 1 }, { a: { x: 1 } }, { a: { x() {}, z: 'no' }, b: { y() {} } }]) {
    const expected = t.throws(() => new builtin.Instance(theirs, wrong))
    t.throws(() => new W.Instance(module, wrong), { name: expected.name, message: expected.message })
    const late = await t.throwsAsync(builtin.instantiate(theirs, wrong))
    await t.throwsAsync(W.instantiate(module, wrong), { name: late.name, message: late.message })
  }
})

test('where memories have no guard regions, everything runs on the built-in engine under register', async (t) => {
  const program = `
    const events = []
    require('node:diagnostics_channel').subscribe('wasm-compile-cache:fallback', (event) => event.bytes === bytes.length && events.push(event.feature))
    // Other modules: fetch has one.
    const bytes = Buffer.from(process.argv[1], 'base64')
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes))
    exports.poke(3, 9)
    WebAssembly.instantiateStreaming(new Response(bytes, { headers: { 'content-type': 'application/wasm' } })).then(
      ({ module }) => console.log(JSON.stringify([exports.f(4), new Uint8Array(exports.memory.buffer)[3], events, module instanceof WebAssembly.Module]))
    )`
  const bytes = Buffer.from(await assemble(OURS)).toString('base64')
  const register = path.join(__dirname, '../register.js')
  const args = ['--disable-wasm-trap-handler', '--require', register, '-e', program, bytes]
  const { stdout } = await promisify(execFile)(process.execPath, args)
  t.deepEqual(JSON.parse(stdout), [8, 9, ['unguarded-memories', 'unguarded-memories'], true])
})

test('WASM_COMPILE_CACHE_ONLY=1 holds for the built-in engine, too', async (t) => {
  const dir = fs.mkdtempSync(path.join(folder, 'only-'))
  const program = `
    const fs = require('node:fs')
    const { createServer } = require('node:http')
    const { pathToFileURL } = require('node:url')
    const events = []
    require('node:diagnostics_channel').subscribe('wasm-compile-cache:fallback', ({ bytes, feature }) => bytes >= 131072 && events.push(feature))
    const headers = { 'content-type': 'application/wasm' }
    const code = (error) => error.code
    const sync = (bytes, options) => {
      try {
        return String(new WebAssembly.Module(bytes, options))
      } catch (error) {
        return error.code
      }
    }
    const main = async (file) => {
      const bytes = fs.readFileSync(file)
      const server = createServer((request, response) => response.writeHead(200, headers).end(bytes)).listen(0, '127.0.0.1')
      await require('node:events').once(server, 'listening')
      const url = new URL('http://127.0.0.1:' + server.address().port + '/module.wasm')
      const stream = (source) => WebAssembly.compileStreaming(source).then(String, code)
      const builtins = { builtins: ['js-string'] }
      const told = [
        sync(bytes), sync(bytes, builtins), await WebAssembly.compile(bytes).then(String, code),
        await WebAssembly.compile(bytes, builtins).then(String, code),
        await stream(new Response(bytes, { headers })), await stream(pathToFileURL(file)), await stream(url),
      ]
      server.close()
      console.log(JSON.stringify([told, events]))
    }
    main(process.argv[1])`
  const register = path.join(__dirname, '../register.js')
  const file = path.join(dir, 'module.wasm')
  const cache = path.join(dir, 'cache')
  const codes = async (flags, env) => {
    const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env })
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, '--require', register, '-e', program, file], {
      env: all,
    })
    const [told, events] = JSON.parse(stdout)
    return [[...new Set(told)], events]
  }
  const ONLY = { WASM_COMPILE_CACHE_ONLY: '1' }
  const UNGUARDED = ['--disable-wasm-trap-handler']
  fs.writeFileSync(file, padded(await assemble(OURS), 131072))
  t.deepEqual(await codes([], ONLY), [['ERR_WASM_NOT_CACHED'], []])
  t.deepEqual(await codes(UNGUARDED, ONLY), [['ERR_WASM_NOT_CACHED'], []])
  t.deepEqual((await codes(UNGUARDED))[0], ['[object WebAssembly.Module]'])
  for (const bytes of [await modules['tail-call'], GC]) {
    fs.writeFileSync(file, padded(bytes, 131072))
    for (const flags of [[], UNGUARDED]) {
      const [told, events] = await codes(flags, ONLY)
      t.true(
        told.every((code) => ['ERR_WASM_NOT_CACHED', 'ERR_WASM_UNSUPPORTED'].includes(code)),
        String(told)
      )
      t.deepEqual(events, [])
    }
  }
})

test('WASM_COMPILE_CACHE_ONLY=1: a module of the cache is not compiled by the built-in engine to share state with its instances', async (t) => {
  const dir = fs.mkdtempSync(path.join(folder, 'state-'))
  const program = `
    const W = require(${JSON.stringify(path.join(__dirname, '..'))})
    const [main, side] = process.argv.slice(1).map((file) => require('node:fs').readFileSync(file))
    const options = { fallback: 'builtin' }
    const { exports } = new W.Instance(new W.Module(main, options))
    const link = async () => {
      const module = new W.Module(side, options)
      await W.Module.optimized(module)
      try {
        return new W.Instance(module, { m: exports }).exports.get()
      } catch (error) {
        return error.name
      }
    }
    link().then((told) => console.log(told))`
  const files = [path.join(dir, 'main.wasm'), path.join(dir, 'side.wasm')]
  fs.writeFileSync(files[0], await assemble(`${REFUSED} (global (export "g") (mut i32) (i32.const 5))`))
  const side = await assemble('(import "m" "g" (global $g (mut i32))) (func (export "get") (result i32) (global.get $g))')
  fs.writeFileSync(files[1], padded(side, 131072))
  const told = async (env) => {
    const all = environment({ WASM_COMPILE_CACHE: path.join(dir, 'cache'), WASM_COMPILE_CACHE_FINISH: '0', ...env })
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', program, ...files], { env: all })
    return stdout.trim()
  }
  t.is(await told(), '5')
  t.is(await told({ WASM_COMPILE_CACHE_ONLY: '1' }), 'LinkError')
  t.is(await told(), '5')
})
