'use strict'
// Under register, each module runs on the engine that is known to be the better one (`engine: 'auto'`): what is not known runs
// as if this package were not there, and verdicts are followed, changed, and never trusted. How modules become known is in
// ./auto-judge.test.js.

const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const test = require('ava')

const {
  JUDGED,
  SIZE,
  auto,
  brokenShim,
  change,
  read,
  shimFile,
  subject,
  verdicts,
  warm,
  withoutShim,
} = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { ROOT } = require('./support/programs.js')
const { answer, padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')

const { file, plain, root, run } = subject(test)
const small = path.join(root, 'small.wasm')
const counter = path.join(root, 'counter.wasm')
test.before(async () => {
  fs.writeFileSync(small, await answer(42))
  fs.writeFileSync(
    counter,
    padded(
      await assemble(`(module (func $f (import "" "f") (param i32))
        (func (export "run") (param i32)
          (loop $l (call $f (local.get 0)) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))`),
      SIZE
    )
  )
})

// ── What is not known ──────────────────────────────────────────────────────────────────────────────────────────────────

test("a module that is not known is the built-in's own, and no native code is loaded for it", async (t) => {
  const cache = folder(t)
  const { told, stderr } = await auto(run().replace('tell([', 'tell([loaded(), '), {
    cache,
    env: { WASM_COMPILE_CACHE_FINISH: '0' },
  })
  t.deepEqual(told, [
    ['dist/choice.js', 'dist/front.js', 'register.js'].map(path.normalize),
    'builtin',
    await plain(t),
    false,
    true,
    true,
    true,
  ])
  t.is(stderr, '')
  t.deepEqual(fs.readdirSync(cache), [], 'without a process that finds out, nothing is left for one')
})

test("small modules are the built-in's, and nothing is left of them", async (t) => {
  const cache = folder(t)
  const { told } = await auto(
    `const module = new WebAssembly.Module(${read(small)})
    WebAssembly.instantiate(${read(small)}).then(({ instance }) => tell([WebAssembly.Module.tier(module), instance.exports.answer(), hasAddon()]))`,
    { cache, env: JUDGED }
  )
  t.deepEqual(told, ['builtin', 42, false])
  t.deepEqual(fs.readdirSync(cache), [])
})

// ── Verdicts ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A cache in which the module is known, and ours. */
async function known(t, name = file) {
  const cache = folder(t)
  await warm(cache, name)
  t.like(verdicts(cache)[0], { engine: 'ours', basis: 'artifact' })
  return cache
}

test('`warm` makes modules known: the first program finds them', async (t) => {
  const cache = await known(t)
  const { told, stderr } = await auto(run(), { cache, env: { NODE_DEBUG: 'wasm-compile-cache' } })
  t.deepEqual(told, ['optimized', await plain(t), true, true, true, true])
  t.regex(stderr, /moduleCacheHit/)
  t.notRegex(stderr, /moduleCacheMiss|baselineReady/)
})

const RUBBISH = ['', '{', 'null', '[]', '7', '{"engine":"ours"}', '{"__proto__":{"engine":"ours"}}', '\0'.repeat(100)]

test('a verdict that is none is as if there were none', async (t) => {
  const cache = await known(t)
  const [{ file: at }] = verdicts(cache)
  for (const text of RUBBISH) {
    fs.writeFileSync(at, text)
    const { told } = await auto(run(), { cache, env: { WASM_COMPILE_CACHE_FINISH: '0' } }).catch((error) =>
      t.fail(`${text}: ${error.message}`)
    )
    t.is(told[0], 'builtin', text)
  }
})

const VOIDED = {
  'another version of this package': [{ package: '0.0.0' }, 'builtin', 'not known yet'],
  'another Node, where use was the reason': [{ engine: 'builtin', basis: 'use', node: 'v1.0.0' }, 'builtin', 'not known yet'],
  'another Node, where there is none': [{ node: 'v1.0.0' }, 'optimized', ''],
  'another V8, where imports were the reason': [{ engine: 'builtin', basis: 'imports', v8: '1' }, 'builtin', 'not known yet'],
  'another Node, where a refusal was the reason': [
    { engine: 'builtin', basis: 'refused', node: 'v1.0.0', reason: 'gc' },
    'builtin',
    'gc',
  ],
  'memory that is there now': [{ engine: 'builtin', basis: 'memory', needed: 1 }, 'builtin', 'not known yet'],
  'memory that is not there': [{ engine: 'builtin', basis: 'memory', needed: 1e18, reason: 'no room' }, 'builtin', 'no room'],
  'a failure of yesterday': [{ engine: 'builtin', basis: 'failed', made: 0 }, 'builtin', 'not known yet'],
  'a failure of today': [{ engine: 'builtin', basis: 'failed', made: Date.now() + 1e6, reason: 'full' }, 'builtin', 'full'],
}

for (const [what, [changes, tier, reason]] of Object.entries(VOIDED)) {
  test(`a verdict and ${what}`, async (t) => {
    const cache = await known(t)
    change(cache, changes)
    const env = { WASM_COMPILE_CACHE_FINISH: '0', NODE_DEBUG: 'wasm-compile-cache' }
    const { told, stderr } = await auto(run(), { cache, env })
    t.is(told[0], tier)
    t.true(stderr.includes(reason), stderr)
  })
}

test("a verdict for code that is not there any more, or is another module's, gives the built-in's result", async (t) => {
  const cache = await known(t)
  for (const entry of fs.readdirSync(cache, { recursive: true })) {
    if (/\.(?:cwasm|ok)$/.test(entry)) fs.rmSync(path.join(cache, entry))
  }
  const gone = await auto(run(), { cache, env: JUDGED })
  t.deepEqual(gone.told.slice(0, 2), ['builtin', await plain(t)])
  if (linux) t.is(gone.verdicts[0].basis, 'little', 'it is judged again')

  // The same length, and the same bytes where the name comes from.
  const other = await known(t)
  const bytes = fs.readFileSync(file)
  bytes[bytes.length - 1000] ^= 1
  const changed = path.join(folder(t), 'changed.wasm')
  fs.writeFileSync(changed, bytes)
  const { told } = await auto(run(changed), { cache: other, env: { WASM_COMPILE_CACHE_FINISH: '0' } })
  t.deepEqual(told.slice(0, 2), ['builtin', await plain(t)])
})

// ── What use shows ─────────────────────────────────────────────────────────────────────────────────────────────────────

const count = (calls) =>
  `
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(${read('COUNTER')}), { '': { f() {} } })
  exports.run(${calls})
  tell(hasAddon())`.replace('"COUNTER"', JSON.stringify(counter))

test('many crossings are a reason for the built-in, from the next run on', async (t) => {
  const cache = await known(t, counter)
  t.is((await auto(count(1000), { cache })).verdicts[0].engine, 'ours')
  // What this Node finds out is this Node's, whichever made the artifact.
  change(cache, { node: 'v1.0.0' })
  const many = await auto(count(3_000_000), { cache })
  t.like(many.verdicts[0], { engine: 'builtin', basis: 'use', node: process.version })
  t.regex(many.verdicts[0].reason, /^3,000,001 crossings in /)
  t.is((await auto(count(1), { cache })).told, false)
})

test('the same command that takes no less time is one, after some runs; one that takes much more, at once', async (t) => {
  const args = ['one', 'two']
  const { told: argv } = await auto(
    'tell(require(process.argv[1]).load("front/sample.js").ofText(process.argv.slice(2).join("\\0")))',
    {
      cache: folder(t),
      args: [path.join(ROOT, 'dist/choice.js'), ...args],
      flags: [],
    }
  )
  /** A run that took so long. */
  const lasting = (ms) => `process.uptime = () => ${ms / 1e3}; ${run()}`
  const builtin = { run: { wall: 100, cpu: 100, main: 1e6, argv } }

  const cache = await known(t)
  change(cache, builtin)
  for (const count of [1, 2]) {
    t.is((await auto(lasting(100), { cache, args })).verdicts[0].runs.length, count)
    t.is((await auto(lasting(100), { cache, args: ['other'] })).verdicts[0].runs.length, count, 'another command says nothing')
  }
  const { verdicts: last } = await auto(lasting(100), { cache, args })
  t.like(last[0], { engine: 'builtin', basis: 'use', reason: 'ours took 100 ms for 100 ms' })

  const worse = await known(t)
  change(worse, builtin)
  t.like((await auto(lasting(1000), { cache: worse, args })).verdicts[0], { engine: 'builtin', basis: 'use' })

  // V8's own code may take less yet; where that is known not to be, nothing is tried.
  const { told: tag } = await auto(`tell(require('node:v8').cachedDataVersionTag())`, { cache: folder(t), flags: [] })
  const codes = { [tag]: { reason: 'none' } }
  for (const [given, engine, reason] of [
    [{}, 'builtin', "ours took 80 ms for 100 ms, and V8's code may take less"],
    [{ codes }, 'ours', "80 ms for 100 ms; of V8's code: none"],
    [{ isTried: true }, 'ours', '80 ms for 100 ms'],
  ]) {
    const close = await known(t)
    change(close, { ...builtin, ...given })
    for (const count of [1, 2, 3]) {
      const { verdicts: found } = await auto(lasting(80), { cache: close, args })
      t.like(found[0], count < 3 ? { engine: 'ours', reason: '80 ms for 100 ms' } : { engine, reason })
    }
  }

  const better = await known(t)
  change(better, builtin)
  for (let count = 0; count < 4; count++) await auto(lasting(50), { cache: better, args })
  const [kept] = verdicts(better)
  t.is(kept.engine, 'ours')
  t.is(kept.runs.length, 3, 'then there is nothing more to write')

  // The first run may have waited for a disk: its main thread was no busier.
  const doubtful = await known(t)
  change(doubtful, { run: { ...builtin.run, main: 1 } })
  const next = async (code, given = args) => {
    const { told, verdicts: found } = await auto(code, { cache: doubtful, args: given })
    return [told[0], found[0].runs.length, found[0].run.wall]
  }
  t.deepEqual(await next(lasting(50)), ['optimized', 1, 100])
  t.deepEqual(await next(lasting(50), ['other']), ['optimized', 1, 100])
  await t.throwsAsync(next(`${lasting(40)}; process.kill(process.pid, 'SIGKILL')`), { message: /SIGKILL/ })
  t.deepEqual(await next(lasting(50)), ['optimized', 2, 100], 'once, however it ends')
  change(doubtful, { again: 'wanted' })
  t.deepEqual(await next(`process.argv = undefined; ${lasting(40)}`), ['optimized', 2, 100], 'nobody knows what command it is')
  t.deepEqual(await next(lasting(40)), ['builtin', 2, 40])
  t.deepEqual(await next(lasting(50)), ['optimized', 3, 40])
  t.like(verdicts(doubtful)[0], { engine: 'builtin', reason: 'ours took 50 ms for 40 ms' })
})

test('a cache directory that cannot be looked at costs nothing but the cache', async (t) => {
  const at = folder(t)
  fs.symlinkSync('loop', path.join(at, 'loop'))
  fs.writeFileSync(path.join(at, 'file'), '')
  for (const cache of ['loop/cache', 'loop', 'file', 'file/cache'].map((name) => path.join(at, name))) {
    const { told } = await auto(run(), { cache: at, env: { ...JUDGED, WASM_COMPILE_CACHE: cache } })
    t.deepEqual(told.slice(0, 3), ['builtin', await plain(t), false], cache)
  }
})

// ── Who is asked ───────────────────────────────────────────────────────────────────────────────────────────────────────

test('WASM_COMPILE_CACHE_ENGINE, install({ engine }) and the option of a call say which engine', async (t) => {
  const cache = folder(t)
  const env = { WASM_COMPILE_CACHE_FINISH: '0' }
  const tiers = `tell([typeof WebAssembly.Module.tier, String(WebAssembly.Module).includes('[native code]')])`
  t.deepEqual((await auto(tiers, { cache, env })).told, ['function', false])
  t.deepEqual((await auto(tiers, { cache, env: { ...env, WASM_COMPILE_CACHE_ENGINE: 'builtin' } })).told, ['function', false])
  t.is((await auto(run(), { cache, env: { ...env, WASM_COMPILE_CACHE_ENGINE: 'builtin' } })).told[0], 'builtin')
  t.is((await auto(run(), { cache, env: { ...env, WASM_COMPILE_CACHE_ENGINE: 'ours' } })).told[0], 'baseline')
  const wrong = await auto(tiers, { cache, env: { ...env, WASM_COMPILE_CACHE_ENGINE: 'fast' } })
  t.deepEqual(wrong.told, ['function', false])
  t.regex(wrong.stderr, /ERR_WASM_ENGINE.*none of auto, ours, builtin: fast/)

  const index = JSON.stringify(path.join(ROOT, 'index.js'))
  const calls = await auto(
    `const pack = require(${index})
    const codes = [7, 'fast'].map((engine) => { try { pack.install({ engine }) } catch ({ name, code }) { return [name, code] } })
    const bytes = ${read(file)}
    const before = WebAssembly
    pack.install({ engine: 'builtin' })
    const builtin = WebAssembly.Module.tier(new WebAssembly.Module(bytes, { cache: false }))
    pack.uninstall()
    pack.install({ engine: 'ours' })
    const ours = WebAssembly.Module.tier(new WebAssembly.Module(bytes, { cache: false }))
    pack.uninstall()
    pack.install()
    const byDefault = WebAssembly.Module.tier(new WebAssembly.Module(bytes))
    const asked = ['ours', 'auto', 'builtin'].map((engine) => [WebAssembly, pack].map(({ Module }) => Module.tier(new Module(bytes, { engine, cache: false }))))
    const named = pack.Module.tier(new pack.Module(bytes, { cache: false }))
    pack.uninstall()
    tell([codes, builtin, ours, byDefault, asked, named, WebAssembly === before])`,
    { cache, env, flags: [] }
  )
  t.deepEqual(calls.told, [
    [
      ['TypeError', 'ERR_INVALID_ARG_TYPE'],
      ['TypeError', 'ERR_INVALID_ARG_VALUE'],
    ],
    'builtin',
    'baseline',
    'builtin',
    [
      ['baseline', 'baseline'],
      ['builtin', 'builtin'],
      ['builtin', 'builtin'],
    ],
    'baseline',
    true,
  ])
})

test('where the addon cannot be loaded, a program whose module is ours runs on the built-in, with a warning', async (t) => {
  const cache = await known(t)
  const { told, stderr } = await auto(run(), { cache, env: { NAPI_RS_NATIVE_LIBRARY_PATH: path.join(root, 'none.node') } })
  t.deepEqual(told.slice(0, 2), ['builtin', await plain(t)])
  t.regex(stderr, /ERR_WASM_NO_ADDON/)
})
if (WebAssembly.Suspending !== undefined) {
  test('a program that suspends stacks runs on the built-in, whatever is known of its modules', async (t) => {
    const cache = await known(t)
    const code = `
      const tick = new WebAssembly.Suspending(async (x) => x + 1)
      const module = new WebAssembly.Module(${read(file)})
      const { exports } = new WebAssembly.Instance(module, { env: { tick } })
      WebAssembly.promising(exports.run)(9).then((value) => tell([value, hasAddon()]))`
    t.deepEqual((await auto(code, { cache })).told, [await plain(t), false])
  })
}

// ── Other realms and threads ───────────────────────────────────────────────────────────────────────────────────────────

const REALMS = `
  const vm = require('node:vm')
  const { Worker } = require('node:worker_threads')
  const bytes = ${read('FILE')}
  const module = new WebAssembly.Module(bytes)
  const context = vm.createContext({ module, bytes, imports: { env: { tick: (x) => x + 1 } } })
  const inside = vm.runInContext('new WebAssembly.Instance(module, imports).exports.run(9)', context)
  const own = vm.runInContext('[WebAssembly.Module.tier?.(module), new WebAssembly.Module(bytes) instanceof WebAssembly.Module, (() => { try { new WebAssembly.Module(new Uint8Array(4)) } catch (error) { return error instanceof WebAssembly.CompileError } })()]', context)
  const back = new WebAssembly.Instance(vm.runInContext('new WebAssembly.Module(bytes)', context), { env: { tick: (x) => x + 1 } }).exports.run(9)
  const worker = new Worker(\`
    const { parentPort, workerData } = require('node:worker_threads')
    parentPort.postMessage([new WebAssembly.Instance(workerData, { env: { tick: (x) => x + 1 } }).exports.run(9), WebAssembly.Module.tier?.(workerData)])\`,
    { eval: true, workerData: module })
  worker.on('message', ([there, tier]) => tell([inside, own.slice(1), back, there, own[0], tier]))`.replace('"FILE"', 'FILE')

test('modules of both verdicts work in every context and thread', async (t) => {
  const code = REALMS.replace('FILE', JSON.stringify(file))
  const env = { WASM_COMPILE_CACHE_FINISH: '0' }
  const value = await plain(t)
  const expected = [value, [true, true], value, value]
  t.deepEqual((await auto(code, { cache: folder(t), flags: [] })).told.slice(0, 4), expected)
  t.deepEqual((await auto(code, { cache: folder(t), env })).told, [...expected, 'builtin', 'builtin'])
  t.deepEqual((await auto(code, { cache: await known(t), env })).told, [...expected, 'optimized', 'optimized'])
})

// ── Streams ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const STREAM = `
  const path = require('node:path')
  const [url] = process.argv.slice(1)
  const imports = { env: { tick: (x) => x + 1 } }
  async function main() {
    const { module, instance } = await WebAssembly.instantiateStreaming(fetch(url), imports)
    const left = fs.readdirSync(process.env.WASM_COMPILE_CACHE, { recursive: true }).map((name) => path.extname(name))
    const made = new Response(${read('FILE')}, { headers: { 'content-type': 'application/wasm' } })
    const other = await WebAssembly.compileStreaming(made)
    const wrong = await WebAssembly.compileStreaming(fetch(url + '?text')).catch(({ name, code, message }) => [name, code, message])
    const hasEngine = addons().some((name) => !name.includes('.v8-'))
    tell([instance.exports.run(9), wrong, [module, other].map((one) => WebAssembly.Module.tier?.(one)), hasEngine, left])
  }
  main()`.replace('"FILE"', 'FILE')

for (const [how, environment] of [
  ['', () => ({})],
  [', without a shim', withoutShim],
  [', with a shim that cannot be loaded', brokenShim],
]) {
  test(`streamed modules, known or not${how}`, async (t) => {
    const env = environment(t)
    const bytes = fs.readFileSync(file)
    const server = http.createServer(({ url }, response) => {
      const type = url.endsWith('?text') ? 'text/plain' : 'application/wasm'
      response.writeHead(200, { 'content-type': type, connection: 'close' }).end(bytes)
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => server.close())
    const args = [`http://127.0.0.1:${server.address().port}/module.wasm`]
    const code = STREAM.replace('FILE', JSON.stringify(file))
    const cache = folder(t)
    const { told: expected } = await auto(code, { cache, flags: [], args })
    const first = await auto(code, { cache, args, env: { ...env, ...(linux ? JUDGED : { WASM_COMPILE_CACHE_FINISH: '0' }) } })
    t.deepEqual(first.told.slice(0, 4), [...expected.slice(0, 2), ['builtin', 'builtin'], false])
    // V8 has the bytes, or they were copied on their way.
    const kept = how === '' && fs.existsSync(shimFile()) ? '.json' : '.wasm'
    t.deepEqual(first.told[4], linux ? ['', kept] : [])
    t.deepEqual(first.seen, [])
    if (!linux) return
    // By its bytes and by its address.
    t.is(first.verdicts.length, 2)
    for (const { file: at, ...verdict } of first.verdicts) {
      fs.writeFileSync(at, JSON.stringify({ ...verdict, engine: 'ours', basis: 'artifact' }, null, 1))
    }
    const second = await auto(code, { cache, args })
    t.deepEqual(second.told.slice(0, 4), [...expected.slice(0, 2), ['optimized', 'optimized'], true])
  })
}

// ── Errors ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('errors have the stacks that they have without this package', async (t) => {
  const code = `
    Error.stackTraceLimit = 20
    const stacks = []
    const note = (action) => { try { action() } catch ({ stack }) { stacks.push(stack) } }
    const empty = new WebAssembly.Module(${read(small)})
    note(() => new WebAssembly.Module(Buffer.from('nothing')))
    note(() => new WebAssembly.Instance({}))
    note(() => new WebAssembly.Table({ element: 'x' }))
    note(() => new WebAssembly.Global({ value: 'i32' }, 1n))
    note(() => new WebAssembly.Instance(new WebAssembly.Module(${read(file)}), { get env() { throw new Error('mine') } }))
    note(() => WebAssembly.Module(1))
    note(() => WebAssembly.Module.imports(1))
    note(() => WebAssembly.validate())
    WebAssembly.compile(Buffer.from('x')).catch(({ stack }) => { stacks.push(stack); tell(stacks) })`
  const cache = folder(t)
  const { told: expected } = await auto(code, { cache, flags: [] })
  const { told } = await auto(code, { cache, env: { WASM_COMPILE_CACHE_FINISH: '0' } })
  t.deepEqual(told, expected)
})
