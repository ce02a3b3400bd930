'use strict'
// V8's own code, kept: made in a process of its own after a run, taken by the next one in every way that bytes come, and
// never unless it is what V8 made of these bytes, for this V8 and its flags. Where there is none, or none that may be taken, is
// in ./v8-code-failures.test.js.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const initWabt = require('wabt')

const { SIZE, auto, shimFile } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { ROOT } = require('./support/programs.js')
const { count } = require('./support/stress.js')
const { BUILTIN, PRELUDE, QUIET, RUN, run, subject } = require('./support/v8-code.js')
const { padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')

const NOW = { WASM_COMPILE_CACHE_FINISH: 'now' }

const MAJOR = Number.parseInt(process.versions.node, 10)

const { file, kept, refused, root } = subject(test)

test('what V8 compiled is kept, and the next process has it without compiling', async (t) => {
  const { cache, bytes, told } = await kept(t)
  const next = await run(file, { cache, env: { ...QUIET, NODE_DEBUG: 'wasm-compile-cache' } })
  t.deepEqual(next.told, [bytes, ...told.slice(1)])
  t.regex(next.stderr, /moduleCacheHit bytes \(128 kB, [0-9a-f]{12}\): found .*nothing is compiled/)
  t.like(next.verdicts[0], { engine: 'builtin', basis: 'chosen' })
  t.deepEqual(next.seen, [])
  const listening = `
    const heard = []
    const hear = ({ bytes }) => heard.push(bytes)
    require('node:diagnostics_channel').subscribe('wasm-compile-cache:moduleCacheHit', hear)
    new WebAssembly.Module(fs.readFileSync(process.argv[1]))
    tell(heard)`
  t.deepEqual((await auto(listening, { cache, args: [file], env: QUIET })).told, [SIZE])
})

test("what this package's engine refuses has V8's code, and the right results", async (t) => {
  const cache = folder(t)
  const env = { WASM_COMPILE_CACHE_FINISH: 'now' }
  const first = await run(refused, { cache, env })
  t.deepEqual(first.told, [0, 10, 'builtin', true])
  t.like(first.verdicts[0], { engine: 'builtin', basis: 'refused' })
  const second = await run(refused, { cache, env })
  t.true(second.told[0] > 0)
  t.deepEqual(second.told.slice(1), first.told.slice(1))
  t.deepEqual(second.seen, [])
})

// Each is `run(9)`; the Nodes whose V8 has it without a flag.
const FEATURES = {
  'tail calls': [
    20,
    { tail_call: true },
    `(func $down (param i32 i32) (result i32)
       (if (result i32) (i32.eqz (local.get 0)) (then (local.get 1))
         (else (return_call $down (i32.sub (local.get 0) (i32.const 1)) (i32.add (local.get 1) (i32.const 2))))))
     (func (export "run") (param i32) (result i32) (return_call $down (i32.const 100000) (local.get 0)))`,
  ],
  'memories with 64-bit addresses': [
    24,
    { memory64: true },
    `(memory i64 1)
     (func (export "run") (param i32) (result i32)
       (i32.store (i64.const 8) (local.get 0)) (i32.mul (i32.load (i64.const 8)) (i32.const 3)))`,
  ],
}

for (const [name, [since, features, text]] of Object.entries(FEATURES)) {
  if (MAJOR < since) continue
  test(`${name}: V8's code, and the right results`, async (t) => {
    const parsed = (await initWabt()).parseWat('feature.wat', `(module ${text})`, features)
    const at = path.join(folder(t), 'feature.wasm')
    fs.writeFileSync(at, padded(parsed.toBinary({}).buffer, SIZE))
    parsed.destroy()
    const cache = folder(t)
    const env = { WASM_COMPILE_CACHE_FINISH: 'now' }
    const [first, second] = [await run(at, { cache, env }), await run(at, { cache, env })]
    t.is(first.told[0], 0)
    t.true(second.told[0] > 0, JSON.stringify(second.verdicts))
    t.deepEqual(second.told.slice(1), first.told.slice(1))
  })
}

// ── Ways in ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const WAYS = `${PRELUDE}
  const vm = require('node:vm')
  const { Worker } = require('node:worker_threads')
  const pack = require(${JSON.stringify(ROOT)})
  class Sub extends WebAssembly.Module {}
  const response = () => new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
  const found = {}
  const note = (name, module, instance, Class = WebAssembly.Module) => {
    const { exports } = instance ?? new WebAssembly.Instance(module, imports)
    found[name] = [codeOf(module) > 0, exports.run(9), Object.getPrototypeOf(module) === Class.prototype]
  }
  async function main() {
    note('Module', new WebAssembly.Module(bytes))
    note('a subclass', new Sub(bytes), undefined, Sub)
    note('a view', new WebAssembly.Module(new Uint8Array(Buffer.concat([Buffer.alloc(3), bytes]).buffer, 3)))
    note('compile', await WebAssembly.compile(bytes))
    const both = await WebAssembly.instantiate(bytes, imports)
    note('instantiate', both.module, both.instance)
    note('compileStreaming', await WebAssembly.compileStreaming(response()))
    const streamed = await WebAssembly.instantiateStreaming(fetch(process.argv[2]), imports)
    note('instantiateStreaming', streamed.module, streamed.instance)
    const context = vm.createContext({ bytes, imports })
    const inside = vm.runInContext('[new WebAssembly.Module(bytes), WebAssembly.Module]', context)
    note('a context', inside[0], undefined, inside[1])
    note('the option', await pack.compile(bytes, { engine: 'builtin' }), undefined, pack.Module)
    const worker = new Worker(\`
      const { parentPort, workerData } = require('node:worker_threads')
      const module = new WebAssembly.Module(workerData)
      parentPort.postMessage([require(${JSON.stringify(shimFile())}).serialize(module)?.byteLength > 0, module])\`,
      { eval: true, workerData: bytes })
    worker.on('message', ([there, posted]) => {
      note('posted', posted)
      found.worker = there
      tell(found)
    })
  }
  main()`

async function command(cache, ...args) {
  const env = { ...process.env, ...QUIET, WASM_COMPILE_CACHE: cache }
  const { stdout } = await promisify(execFile)(process.execPath, [path.join(ROOT, 'dist/cli.js'), ...args], { env })
  return stdout
}

/** The address from which some bytes come. */
async function serve(t, bytes) {
  const server = http.createServer((_, response) =>
    response.writeHead(200, { 'content-type': 'application/wasm', connection: 'close' }).end(bytes)
  )
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  return `http://127.0.0.1:${server.address().port}/module.wasm`
}

test('every way in: synchronous, in the background, streamed, in contexts and threads, by the option', async (t) => {
  const { cache, told } = await kept(t)
  const args = [file, await serve(t, fs.readFileSync(file))]
  // So that it is known by its address.
  await auto(`WebAssembly.compileStreaming(fetch(process.argv[2])).then(() => tell(0))`, { cache, args, env: BUILTIN })
  const plain = await auto(WAYS, { cache: folder(t), args, flags: [], env: QUIET })
  const hot = await auto(WAYS, { cache, args, env: QUIET })
  const { worker, ...ways } = hot.told
  t.true(worker)
  for (const [name, [hasCode, value, isPlain]] of Object.entries(ways)) {
    t.deepEqual([name, hasCode, value, isPlain], [name, true, told[1], true])
    t.deepEqual([name, plain.told[name][0]], [name, false])
  }
})

test('a shared buffer, options that only the program can read and what a realm may not compile get none', async (t) => {
  const { cache } = await kept(t)
  const code = `${PRELUDE}
    const vm = require('node:vm')
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
    shared.set(bytes)
    let asked = 0
    const options = { get builtins() { asked++; return [] } }
    const sizes = [shared, bytes].map((one, index) => {
      try { return codeOf(new WebAssembly.Module(one, index === 0 ? undefined : options)) } catch ({ name }) { return name }
    })
    const context = vm.createContext({ bytes }, { codeGeneration: { wasm: false } })
    tell([sizes, asked, vm.runInContext('try { new WebAssembly.Module(bytes) } catch ({ name }) { name }', context)])`
  const plain = await auto(code, { cache: folder(t), args: [file], env: QUIET, flags: [] })
  t.deepEqual((await auto(code, { cache, args: [file], env: QUIET })).told, plain.told)
  t.is(plain.told[2], 'CompileError')
})

// What JavaScript passes where the built-in engine resolves nothing: seven more.
const STRINGS = `${PRELUDE}
  const options = { builtins: ['js-string'] }
  const given = { 'wasm:js-string': { length: () => 7 } }
  const response = () => new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
  const found = []
  const note = (module, instance) => {
    const { exports } = instance ?? new WebAssembly.Instance(module, given)
    found.push([codeOf(module) > 0, WebAssembly.Module.imports(module).length, exports.run('four')])
  }
  async function main() {
    for (const given of [options, undefined, { ...options, importedStringConstants: 's' }]) note(new WebAssembly.Module(bytes, given))
    note(await WebAssembly.compile(bytes, options))
    const both = await WebAssembly.instantiate(bytes, given, options)
    note(both.module, both.instance)
    note(await WebAssembly.compileStreaming(response(), options))
    note(await WebAssembly.compileStreaming(fetch(process.argv[2]), options))
    const streamed = await WebAssembly.instantiateStreaming(fetch(process.argv[2]), given, options)
    note(streamed.module, streamed.instance)
    note(await require(${JSON.stringify(ROOT)}).compile(bytes, { ...options, engine: 'builtin' }))
    tell(found)
  }`

test("JS string builtins: V8's code, for the options that a module is compiled with, and the right results", async (t) => {
  const at = path.join(root, 'strings.wasm')
  const text = `(module
    (import "wasm:js-string" "length" (func $length (param externref) (result i32)))
    (func (export "run") (param externref) (result i32) (i32.add (call $length (local.get 0)) (i32.const 1000))))`
  const bytes = padded(await assemble(text), SIZE)
  fs.writeFileSync(at, bytes)
  const args = [at, await serve(t, bytes)]
  const cache = folder(t)
  const asked = `const options = { builtins: ['js-string'] }`
  const left = await auto(`${PRELUDE}; ${asked}; new WebAssembly.Module(bytes, options); tell(0)`, { cache, args, env: NOW })
  t.like(left.verdicts[0], { engine: 'builtin', basis: 'chosen', reason: 'it asks for JS string builtins' })
  await auto(`${asked}; WebAssembly.compileStreaming(fetch(process.argv[2]), options).then(() => tell(0))`, {
    cache,
    args,
    env: NOW,
  })
  // It is not in the cache as an artifact of this package's engine.
  const { stdout } = await t.throwsAsync(command(cache, 'explain', '--json', at), { code: 1 })
  t.regex(JSON.parse(stdout).verdict.reason, /^it asks for JS string builtins; .* of V8's code are kept/)
  const env = { WASM_COMPILE_CACHE_FINISH: '0' }
  const [plain, hot] = [
    await auto(`${STRINGS}; main()`, { cache: folder(t), args, flags: [], env }),
    await auto(`${STRINGS}; main()`, { cache, args, env }),
  ]
  const [first, without, others, ...ways] = hot.told
  // Node 20 does not have them, and 22 no constants: what a Node passes over makes no other code.
  const [imported, value] = MAJOR < 22 ? [1, 1007] : [0, 1004]
  for (const found of [first, ...ways]) t.deepEqual(found, [true, imported, value])
  t.deepEqual(without, [MAJOR < 22, 1, 1007])
  t.is(others[0], MAJOR < 24)
  t.deepEqual(hot.told.map(([, ...rest]) => rest), plain.told.map(([, ...rest]) => rest)) // prettier-ignore
  t.true(plain.told.every(([hasCode]) => !hasCode))
})

// ── Which functions ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Functions that are large enough for V8 to optimise them when they are called. */
const functions = () => {
  const one = (name) => `(func (export "${name}") (param i32) (result i32) (local i32)
    (loop $l
      ${'(local.set 1 (i32.xor (i32.rotl (local.get 1) (i32.const 7)) (i32.add (local.get 0) (i32.const 99))))'.repeat(40)}
      (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))`
  return assemble(`(module ${Array.from({ length: 40 }, (_, index) => one(`f${index}`)).join('\n')})`)
}

test('functions that were called are kept, and those that other runs call are added', async (t) => {
  const { unpack } = require('../dist/judging.js').load('code/calls.js')
  const name = path.join(root, 'functions.wasm')
  fs.writeFileSync(name, padded(await functions(), SIZE))
  const cache = folder(t)
  // As if V8 had compiled for long.
  const code = `${PRELUDE}
    process.cpuUsage = () => ({ user: 1e9, system: 0 })
    const module = new WebAssembly.Module(bytes)
    const size = codeOf(module)
    const { exports } = new WebAssembly.Instance(module)
    for (const name of process.argv.slice(2)) exports[name](2e6)
    tell(size)`
  const told = async (...names) => {
    const { told: size, verdicts: found } = await auto(code, { cache, args: [name, ...names], env: BUILTIN })
    const [known] = Object.values(found[0].codes)
    const called = known.called === undefined ? [] : [...unpack(known.called, 40)].flatMap((one, index) => (one ? [index] : []))
    return { ...known, size, called }
  }
  const first = await told('f3', 'f7')
  t.deepEqual([first.size, first.called, first.rounds], [0, [3, 7], 1])
  const second = await told('f3', 'f20')
  t.is(second.size, first.bytes)
  t.true(second.isPartial, 'V8 compiled much')
  const third = await told('f20')
  t.is(third.size, first.bytes)
  t.deepEqual([third.called, third.rounds], [[3, 7, 20], 2])
  t.true(third.bytes > first.bytes)
})

if (WebAssembly.Suspending !== undefined) {
  test("modules whose stacks are suspended have V8's code", async (t) => {
    const name = path.join(root, 'suspending.wasm')
    const text = `(module (import "env" "wait" (func $wait (result i32)))
      (func (export "run") (result i32) (i32.add (call $wait) (i32.const 1))))`
    fs.writeFileSync(name, padded(await assemble(text), SIZE))
    const code = `${PRELUDE}
      const wait = new WebAssembly.Suspending(async () => 41)
      const module = new WebAssembly.Module(bytes)
      const size = codeOf(module)
      const run = WebAssembly.promising(new WebAssembly.Instance(module, { env: { wait } }).exports.run)
      run().then((value) => tell([size > 0, value]))`
    const cache = folder(t)
    const env = { WASM_COMPILE_CACHE_FINISH: 'now' }
    const { told, verdicts } = await auto(code, { cache, args: [name], env })
    t.deepEqual([told, verdicts[0].reason], [[false, 42], 'its program suspends stacks'])
    t.deepEqual((await auto(code, { cache, args: [name], env })).told, [true, 42])
  })
}

// ── What V8's code depends on ──────────────────────────────────────────────────────────────────────────────────────────

test("other flags of V8's have code of their own, those that a program sets itself none", async (t) => {
  const { cache, bytes, tag } = await kept(t)
  const flags = ['--stack-size=900', '--require', path.join(ROOT, 'register.js')]
  const other = await run(file, { cache, env: BUILTIN, flags })
  t.is(other.told[0], 0)
  const { codes } = other.verdicts[0]
  t.is(Object.keys(codes).length, 2)
  t.true(Object.values(codes).every((code) => code.bytes > 0))
  t.is(codes[tag].bytes, bytes)
  t.true((await run(file, { cache, env: QUIET, flags })).told[0] > 0)
  const changed = await auto(`require('node:v8').setFlagsFromString('--stack-size=901');${RUN}`, {
    cache,
    args: [file],
    env: QUIET,
  })
  t.is(changed.told[0], 0)
})

// ── Beside others ──────────────────────────────────────────────────────────────────────────────────────────────────────

test('workers that begin and end at any time, while code is taken and Node streams', async (t) => {
  const { cache, told } = await kept(t)
  const rounds = count(4, 500)
  const code = `${PRELUDE}
    const { Worker } = require('node:worker_threads')
    const text = \`
      const { workerData: { bytes } } = require('node:worker_threads')
      const response = () => new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
      require('node:worker_threads').parentPort.postMessage(0)
      for (;;) {
        const module = new WebAssembly.Module(bytes)
        new WebAssembly.Instance(module, { env: { tick: (x) => x + 1 } }).exports.run(9)
        WebAssembly.compileStreaming(response()).catch(() => {})
      }\`
    const results = new Set()
    async function round(number) {
      const worker = new Worker(text, { eval: true, workerData: { bytes } })
      await new Promise((resolve) => worker.once('message', resolve))
      const response = new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
      const { instance } = await WebAssembly.instantiateStreaming(response, imports)
      for (let k = 0; k < number % 5; k++) new WebAssembly.Module(bytes)
      results.add(instance.exports.run(9))
      await worker.terminate()
    }
    async function main() {
      for (let number = 0; number < ${rounds}; number += 2) await Promise.all([round(number), round(number + 1)])
      tell([...results])
    }
    main()`
  t.deepEqual((await auto(code, { cache, args: [file], env: QUIET })).told, [told[1]])
})

if (MAJOR < 26) {
  test("another addon's place in V8's streaming is not taken", async (t) => {
    const { cache, told } = await kept(t)
    const source = path.join(root, 'callback.cc')
    fs.writeFileSync(
      source,
      `#include <node.h>
       #include <v8-wasm.h>
       static int calls = 0;
       static void OnStreaming(const v8::FunctionCallbackInfo<v8::Value>& info) {
         calls++;
         v8::WasmStreaming::Unpack(info.GetIsolate(), info.Data())->Abort(v8::MaybeLocal<v8::Value>(v8::Null(info.GetIsolate())));
       }
       static void Calls(const v8::FunctionCallbackInfo<v8::Value>& info) { info.GetReturnValue().Set(calls); }
       NODE_MODULE_INIT() {
         context->GetIsolate()->SetWasmStreamingCallback(OnStreaming);
         NODE_SET_METHOD(exports, "calls", Calls);
       }`
    )
    const addon = path.join(root, 'callback.node')
    const headers = path.join(path.dirname(fs.realpathSync(process.execPath)), '../include/node')
    await promisify(execFile)(process.env.CXX ?? 'c++', [
      '-shared',
      '-fPIC',
      '-std=c++20',
      '-fno-rtti',
      `-I${headers}`,
      source,
      '-o',
      addon,
    ])
    const code = `
      const other = require(${JSON.stringify(addon)})
      ${RUN.replace('tell([', 'const before = other.calls(); new WebAssembly.Module(bytes); tell([other.calls() > before, ')}`
    const { told: found } = await auto(code, { cache, args: [file], env: QUIET })
    t.deepEqual(found, [true, 0, ...told.slice(1)])
  })
}

test('the command line shows it, and archives leave it out', async (t) => {
  const { cache } = await kept(t)
  const cli = (...args) => command(cache, ...args)
  t.regex(await cli('ls'), /128 kB .* V8's code/)
  t.regex(await cli('doctor'), /ok +V8's code +kept, for V8 \d/)
  t.is(JSON.parse(await cli('verify', '--json')).verified, 1)
  await t.throwsAsync(cli('export', path.join(cache, 'archive.tar')), { message: /the cache has nothing of that kind/ })
})

test('uninstall() and a second copy of this package leave no trace', async (t) => {
  const { cache, bytes } = await kept(t)
  const copy = folder(t)
  for (const name of ['index.js', 'register.js', 'package.json', 'dist', 'binding.js']) {
    fs.cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true })
  }
  const code = `${PRELUDE}
    const before = WebAssembly
    const packs = [${JSON.stringify(ROOT)}, ${JSON.stringify(copy)}].map((name) => require(name))
    const sizes = []
    const look = () => sizes.push(codeOf(new WebAssembly.Module(bytes)))
    for (const pack of packs) { pack.install({ engine: 'builtin' }); look() }
    for (const pack of packs.reverse()) pack.uninstall()
    const response = new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
    WebAssembly.instantiateStreaming(response, imports).then(({ instance }) => tell([WebAssembly === before, sizes, instance.exports.run(9)]))`
  const { told } = await auto(code, { cache, args: [file], env: QUIET, flags: [] })
  t.deepEqual(told.slice(0, 2), [true, [bytes, bytes]])
})
