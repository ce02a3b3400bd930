'use strict'
// V8's own code, kept: made in a process of its own after a run, taken by the next one in every way that bytes come, and
// never unless it is what V8 made of these bytes, for this V8 and its flags. Whatever fails, V8 compiles.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const initWabt = require('wabt')

const { LATER, TAKE, addonFile, auto, change, seen, shimFile, verdicts, withoutShim } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { memoryGroup } = require('./support/limits.js')
const { given, linux, mappings, mentioning, over, until } = require('./support/processes.js')
const { ROOT } = require('./support/programs.js')
const { count } = require('./support/stress.js')
const { machine, padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')
const { remove } = require('./support/remove.js')

const SIZE = 128 * 1024
const MAJOR = Number.parseInt(process.versions.node, 10)

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-v8-'))
test.after.always(() => remove(root))
const file = path.join(root, 'machine.wasm')
const refused = path.join(root, 'refused.wasm')
test.before(async () => {
  fs.writeFileSync(file, padded(await machine(), SIZE))
  fs.writeFileSync(
    refused,
    padded(
      await assemble(`(module
        (func $next (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
        (func (export "run") (param i32) (result i32) (return_call $next (local.get 0))))`),
      SIZE
    )
  )
})

/** The built-in engine for everything, and what it compiles is kept at once. */
const BUILTIN = { WASM_COMPILE_CACHE_ENGINE: 'builtin', WASM_COMPILE_CACHE_FINISH: 'now' }
const QUIET = { ...BUILTIN, WASM_COMPILE_CACHE_FINISH: '0' }

/** Before anything of a module was called, V8 has no code of it, unless it was given some. */
const PRELUDE = `
  const shim = require(${JSON.stringify(shimFile())})
  const codeOf = (module) => shim.serialize(module)?.byteLength ?? 0
  const imports = { env: { tick: (x) => x + 1 } }
  const bytes = fs.readFileSync(process.argv[1])`

const RUN = `${PRELUDE}
  const module = new WebAssembly.Module(bytes)
  const code = codeOf(module)
  const { exports } = new WebAssembly.Instance(module, imports)
  tell([code, exports.run(9), WebAssembly.Module.tier?.(module), Object.getPrototypeOf(module) === WebAssembly.Module.prototype])`

const run = (name, settings) => auto(RUN, { args: [name], ...settings })

/** A cache that has V8's code of a module; its length. */
async function kept(t, name = file, settings = {}) {
  const cache = folder(t)
  const first = await run(name, { cache, env: BUILTIN, ...settings })
  t.is(first.told[0], 0)
  t.deepEqual(first.seen, [])
  const [{ codes }] = first.verdicts
  const [[tag, { bytes, reason }]] = Object.entries(codes)
  t.true(bytes > 0, reason)
  return { cache, bytes, tag, told: first.told }
}

const entries = (cache) =>
  fs
    .readdirSync(cache, { recursive: true })
    .filter((name) => name.endsWith('.cwasm'))
    .map((name) => path.join(cache, name))

test('what V8 compiled is kept, and the next process has it without compiling', async (t) => {
  const { cache, bytes, told } = await kept(t)
  const next = await run(file, { cache, env: { ...QUIET, NODE_DEBUG: 'wasm-compile-cache' } })
  t.deepEqual(next.told, [bytes, ...told.slice(1)])
  t.regex(next.stderr, /moduleCacheHit bytes \(128 kB, [0-9a-f]{12}\): found .*nothing is compiled/)
  t.like(next.verdicts[0], { engine: 'builtin', basis: 'chosen' })
  t.deepEqual(next.seen, [])
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

test('every way in: synchronous, in the background, streamed, in contexts and threads, by the option', async (t) => {
  const bytes = fs.readFileSync(file)
  const server = http.createServer((_, response) =>
    response.writeHead(200, { 'content-type': 'application/wasm', connection: 'close' }).end(bytes)
  )
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => server.close())
  const { cache, told } = await kept(t)
  const args = [file, `http://127.0.0.1:${server.address().port}/module.wasm`]
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

test('a shared buffer, the standard options and what a realm may not compile get none', async (t) => {
  const { cache } = await kept(t)
  const code = `${PRELUDE}
    const vm = require('node:vm')
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length))
    shared.set(bytes)
    const sizes = [shared, bytes].map((one, index) => {
      try { return codeOf(new WebAssembly.Module(one, index === 0 ? undefined : { builtins: [] })) } catch ({ name }) { return name }
    })
    const context = vm.createContext({ bytes }, { codeGeneration: { wasm: false } })
    tell([sizes, vm.runInContext('try { new WebAssembly.Module(bytes) } catch ({ name }) { name }', context)])`
  const plain = await auto(code, { cache: folder(t), args: [file], env: QUIET, flags: [] })
  t.deepEqual((await auto(code, { cache, args: [file], env: QUIET })).told, plain.told)
  t.is(plain.told[1], 'CompileError')
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
    t.deepEqual((await auto(code, { cache, args: [name], env })).told, [false, 42])
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

// ── What is damaged ────────────────────────────────────────────────────────────────────────────────────────────────────

test('nothing that was damaged reaches V8', async (t) => {
  const { cache, bytes } = await kept(t)
  const other = path.join(root, 'other.wasm')
  fs.writeFileSync(other, padded(await machine(), SIZE + 64))
  const { cache: elsewhere } = await kept(t, other)
  const [entry] = entries(cache)
  const rounds = count(20, 2000)
  // In one process: the file is replaced, as a restored backup or a broken disk would have it, and looked up.
  const code = `
    const { createHash } = require('node:crypto')
    const native = require(${JSON.stringify(addonFile())})
    require(${JSON.stringify(path.join(ROOT, 'dist/native.js'))}).load('cache/environment.js').configure(native)
    const description = require(${JSON.stringify(path.join(ROOT, 'dist/choice.js'))}).load('code/host.js').describe()
    const [, , entry, other, rounds] = process.argv
    const bytes = fs.readFileSync(process.argv[1])
    const whole = fs.readFileSync(entry)
    const replace = (data) => { fs.writeFileSync(entry + '.new', data, { mode: 0o600 }); fs.renameSync(entry + '.new', entry) }
    const find = (about = description, partition = '') => native.findHostCode(bytes, partition, about)
    const reached = []
    let seed = 1
    const random = (limit) => { seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 12345 | 0; return (seed >>> 0) % limit }
    for (let round = 0; round < rounds; round++) {
      const damaged = Buffer.from(whole)
      const kind = round % 4
      const at = kind === 1 ? whole.length - 1 - random(300) : random(whole.length)
      if (kind < 2) damaged[at] ^= 1 << random(8)
      const data = kind < 2 ? damaged : kind === 2 ? damaged.subarray(0, at) : Buffer.concat([damaged.subarray(0, at), damaged.subarray(at + 1), Buffer.of(0)])
      if (data.equals(whole)) continue
      replace(data)
      if (find().code !== undefined) reached.push([kind, at])
    }
    replace(fs.readFileSync(other))
    const others = find().reason
    replace(whole)
    const there = find().code?.byteLength
    const misses = [{ version: '1' }, { tag: '1' }, { target: 'x' }].map((change) => find({ ...description, ...change }).reason)
    bytes[bytes.length - 1] ^= 1
    tell([reached, others, there, [...misses, find(description, 'p').reason, find().reason]])`
  const { told } = await auto(code, { cache, args: [file, entry, entries(elsewhere)[0], rounds], env: QUIET, flags: [] })
  const missed = ['other-engine', 'other-engine', 'other-engine', 'absent', 'absent']
  t.deepEqual(told, [[], 'wrong-key', bytes, missed])
})

test('code that V8 refuses is compiled anew, and goes; damaged code under a valid seal hangs nobody', async (t) => {
  const { cache, told } = await kept(t)
  const [{ codes }] = verdicts(cache)
  const [[tag]] = Object.entries(codes)
  const store = (change) => `
    const native = require(${JSON.stringify(addonFile())})
    require(${JSON.stringify(path.join(ROOT, 'dist/native.js'))}).load('cache/environment.js').configure(native)
    const description = require(${JSON.stringify(path.join(ROOT, 'dist/choice.js'))}).load('code/host.js').describe()
    const { code } = native.findHostCode(fs.readFileSync(process.argv[1]), '', description)
    const data = Buffer.from(code)
    ;${change}
    fs.writeFileSync(process.argv[2], data)
    tell(native.storeHostCode(process.argv[1], process.argv[2], '', '', description).bytes > 0)`
  // V8's version is the second word of its header, its flags the fourth.
  for (const change of ['data[4] ^= 1', 'data[12] ^= 1', 'data[0] ^= 1']) {
    const { told: stored } = await auto(store(change), { cache, args: [file, path.join(root, 'code')], env: QUIET, flags: [] })
    t.true(stored)
    const refused = await run(file, { cache, env: { ...QUIET, NODE_DEBUG: 'wasm-compile-cache' } })
    t.deepEqual(refused.told, [0, ...told.slice(1)])
    t.regex(refused.stderr, /moduleCacheInvalid .*V8 refuses it/)
    t.deepEqual(entries(cache), [])
    t.is(refused.verdicts[0].codes[tag], undefined)
    t.true((await run(file, { cache, env: BUILTIN })).verdicts[0].codes[tag].bytes > 0, 'and is made again')
  }
})

// ── Where there is nothing to be had ───────────────────────────────────────────────────────────────────────────────────

test('without a shim, or with one that cannot be loaded, everything is as without this package', async (t) => {
  const { cache, told } = await kept(t)
  const code = `
    const module = new WebAssembly.Module(fs.readFileSync(process.argv[1]))
    tell(new WebAssembly.Instance(module, { env: { tick: (x) => x + 1 } }).exports.run(9))`
  const none = await auto(code, { cache, args: [file], env: { ...QUIET, ...withoutShim(t) } })
  t.deepEqual([none.told, none.stderr], [told[1], ''])
  const fresh = folder(t)
  const asked = await auto(code, { cache: fresh, args: [file], env: { ...BUILTIN, ...withoutShim(t) } })
  t.deepEqual([asked.told, asked.seen, asked.verdicts], [told[1], [], []])

  const broken = withoutShim(t)
  const shim = path.join(path.dirname(broken.NAPI_RS_NATIVE_LIBRARY_PATH), path.basename(shimFile()))
  fs.writeFileSync(shim, 'no addon')
  const refusing = await auto(code, { cache, args: [file], env: { ...QUIET, ...broken } })
  t.deepEqual([refusing.told, refusing.stderr], [told[1], ''])
  // What cannot be had from V8 at the end is left at once by the next run.
  const first = await auto(code, { cache: fresh, args: [file], env: { ...BUILTIN, ...broken } })
  t.deepEqual([first.told, first.seen.length, first.verdicts], [told[1], 1, []])
  const tried = await auto(code, { cache: fresh, args: [file], env: { ...BUILTIN, ...broken } })
  t.deepEqual([tried.told, tried.seen], [told[1], []])
  const [{ codes }] = tried.verdicts
  t.deepEqual(Object.values(codes), [{ reason: 'there is no shim for this Node' }])
})

if (linux) {
  /** A run after which V8 compiles a module that is large enough for it to be at work for a while; and its compilers. */
  async function compiling(cache) {
    const large = path.join(ROOT, 'node_modules/mupdf/dist/mupdf-wasm.wasm')
    const code = 'tell(WebAssembly.Module.exports(new WebAssembly.Module(fs.readFileSync(process.argv[1]))).length)'
    const running = auto(code, { cache, args: [large], env: BUILTIN })
    const compilers = () => mentioning(path.join(ROOT, 'dist/compile-v8.js')).filter((pid) => isOf(pid, cache))
    await until(() => compilers().some((pid) => mappings(pid, path.basename(shimFile())).length > 0), "V8's compiler")
    return { running, compilers: compilers() }
  }

  test('a compiler that is killed is remembered, and leaves nothing', async (t) => {
    const cache = folder(t)
    const { running, compilers } = await compiling(cache)
    for (const pid of compilers) process.kill(pid, 'SIGKILL')
    const { verdicts: found, seen: left } = await running
    t.deepEqual(Object.values(found[0].codes), [{ reason: "V8's compiler ended with SIGKILL" }])
    t.deepEqual(left, [])
    t.deepEqual(entries(cache), [])
    const code = 'new WebAssembly.Module(fs.readFileSync(process.argv[1])); tell(0)'
    const args = [path.join(ROOT, 'node_modules/mupdf/dist/mupdf-wasm.wasm')]
    const { seen: again, verdicts: later } = await auto(code, { cache, args, env: BUILTIN })
    t.deepEqual([again, later[0].codes], [[], found[0].codes], 'and not tried again')
  })

  test('where there is no room for a compiler, that is known, and that it is not for more', async (t) => {
    const group = memoryGroup(t, 90 * 2 ** 20)
    if (group === undefined) return t.pass()
    const cache = folder(t)
    const code = `new WebAssembly.Module(fs.readFileSync(${JSON.stringify(refused)})); tell(0)`
    const env = { WASM_COMPILE_CACHE_FINISH: 'now' }
    const known = { engine: 'builtin', basis: 'refused' }
    const without = await auto(code, { cache, env: { ...env, ...withoutShim(t) } })
    t.like(without.verdicts, [{ ...known, codes: undefined }])
    const inside = await auto(code, { cache, env, group })
    t.like(inside.verdicts, [known])
    t.deepEqual(inside.seen, [])
    const [{ reason, needed }] = Object.values(inside.verdicts[0].codes)
    t.regex(reason, /^compiling it takes some \d+ MB of memory, and \d+ MB are free$/)
    t.true(needed > 80 * 2 ** 20)
    const outside = await auto(code, { cache, env })
    t.like(outside.verdicts, [known])
    t.true(Object.values(outside.verdicts[0].codes)[0].bytes > 0)
  })

  // By itself: it looks at a process that does not take long.
  test.serial('a compiler gives up before others lack the memory that it has', async (t) => {
    const group = memoryGroup(t, 1000 * 2 ** 20)
    if (group === undefined) return t.pass()
    const large = path.join(ROOT, 'node_modules/mupdf/dist/mupdf-wasm.wasm')
    const code = `
      ${LATER}${TAKE}
      const { spawn } = require('node:child_process')
      let child
      require('node:child_process').spawn = (...list) => (child = spawn(...list))
      new WebAssembly.Module(fs.readFileSync(${JSON.stringify(large)}))
      later()
      child.on('exit', () => { clearInterval(timer); tell(taken.length > 0) })
      const childrenOf = (pid) => fs.readFileSync('/proc/' + pid + '/task/' + pid + '/children', 'utf8').split(' ').filter(Boolean)
      const sizeOf = (pid) => Number(/^VmRSS:\\s*(\\d+) kB/m.exec(fs.readFileSync('/proc/' + pid + '/status', 'utf8'))?.[1])
      // Once it is at work, which must not be over before the memory is taken.
      const timer = setInterval(() => {
        try {
          const compilers = childrenOf(child.pid).filter((pid) => sizeOf(pid) > 90 * 1024)
          for (const pid of compilers) process.kill(pid, 'SIGSTOP')
          if (compilers.length > 0) take(${40 * 2 ** 20})
        } catch {
          // One has ended between two of these: the next time others are seen.
        }
      }, 5)
      child.ref()`
    const { told, seen: left, verdicts: found } = await auto(code, { cache: folder(t), env: BUILTIN, group })
    t.deepEqual([told, left], [true, []])
    const [{ reason, needed }] = Object.values(found[0].codes)
    t.regex(reason, /^compiling it takes some/)
    t.true(needed > 80 * 2 ** 20)
  })

  test('a compiler ends with the judge, also where it is stopped', async (t) => {
    const cache = folder(t)
    const { running, compilers } = await compiling(cache)
    for (const pid of compilers) process.kill(pid, 'SIGSTOP')
    for (const pid of mentioning(path.join(ROOT, 'dist/judge.js'))) if (isOf(pid, cache)) process.kill(pid, 'SIGKILL')
    await running
    await over(compilers)
    t.is(seen(cache).filter((name) => name.endsWith('.wasm')).length, 1, 'the next run has it taken up')
  })
}

const isOf = (pid, cache) => ['cmdline', 'environ'].some((what) => given(pid, what).includes(cache))

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
  const cli = async (...args) => {
    const env = { ...process.env, ...QUIET, WASM_COMPILE_CACHE: cache }
    const { stdout } = await promisify(execFile)(process.execPath, [path.join(ROOT, 'dist/cli.js'), ...args], { env })
    return stdout
  }
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

test('what a verdict says of code is believed only as far as it can cost time', async (t) => {
  const { cache, tag, told } = await kept(t)
  for (const codes of [null, 7, 'x', { [tag]: null }, { [tag]: 'x' }, { [tag]: { bytes: -1, runs: 7, called: 1, rounds: 'x' } }]) {
    change(cache, { codes })
    const { told: found } = await run(file, { cache, env: QUIET })
    t.deepEqual(found.slice(1), told.slice(1), JSON.stringify(codes))
  }
})

test('a run that took no less time with its code goes without', async (t) => {
  const { cache } = await kept(t)
  const [{ run: first, codes }] = verdicts(cache)
  const [[tag, code]] = Object.entries(codes)
  // As if the run on which it is based had taken no time.
  const runs = Array.from({ length: 2 }, () => ({ wall: 100, cpu: 100 }))
  change(cache, { run: { ...first, wall: 0.001 }, codes: { [tag]: { ...code, runs, isPartial: true } } })
  const hot = await run(file, { cache, env: QUIET })
  t.true(hot.told[0] > 0)
  t.regex(hot.verdicts[0].codes[tag].reason, /^its code took \d+ ms for 0\.00 ms$/)
  const later = await run(file, { cache, env: BUILTIN })
  t.deepEqual([later.told[0], later.seen, later.verdicts[0].codes], [0, [], hot.verdicts[0].codes], 'nor is it asked for again')
})
