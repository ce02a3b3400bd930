'use strict'
// Under register, each module runs on the engine that is known to be the better one (`engine: 'auto'`): what is not known runs
// as if this package were not there, and becomes known; verdicts are followed, changed, and never trusted.

const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')

const { LATER, auto, change, judged, seen, shimFile, verdicts, warm, withoutShim } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { REGISTER, ROOT } = require('./support/programs.js')
const { answer, machine, padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')
const { remove } = require('./support/remove.js')

const SIZE = 128 * 1024

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-auto-'))
test.after.always(() => remove(root))
const file = path.join(root, 'machine.wasm')
const refused = path.join(root, 'refused.wasm')
const small = path.join(root, 'small.wasm')
const counter = path.join(root, 'counter.wasm')
test.before(async () => {
  fs.writeFileSync(file, padded(await machine(), SIZE))
  fs.writeFileSync(small, await answer(42))
  // (module (func return_call 0))
  const functions = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 6, 1, 4, 0, 0x12, 0, 11]
  fs.writeFileSync(refused, padded(Buffer.from(functions), SIZE))
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

const read = (name) => `fs.readFileSync(${JSON.stringify(name)})`
const RUN = `
  const { Module, Instance } = WebAssembly
  const module = new Module(${read('FILE')})
  const instance = new Instance(module, { env: { tick: (x) => x + 1 } })
  tell([Module.tier(module), instance.exports.run(9), hasAddon(), Object.getPrototypeOf(module) === Module.prototype, instance instanceof Instance,
    module.constructor === Module])`
const run = (name = file) => RUN.replace('"FILE"', JSON.stringify(name))

/** What the program gives without this package. */
async function plain(t) {
  const { told } = await auto(run().replace('Module.tier(module)', '0'), { cache: folder(t), flags: [] })
  return told[1]
}

// Without waiting for a quiet machine.
const JUDGED = { WASM_COMPILE_CACHE_FINISH: 'now' }

// ── What is not known ──────────────────────────────────────────────────────────────────────────────────────────────────

test("a module that is not known is the built-in's own, and no native code is loaded for it", async (t) => {
  const cache = folder(t)
  const { told, stderr } = await auto(run().replace('tell([', 'tell([loaded(), '), {
    cache,
    env: { WASM_COMPILE_CACHE_FINISH: '0' },
  })
  t.deepEqual(told, [
    ['dist/choice.js', 'dist/front.js', 'dist/judging.js', 'register.js'].map(path.normalize),
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

if (linux) {
  test('what V8 compiles little of stays there; what it compiles more of is judged by another process, and known to the next one', async (t) => {
    const cache = folder(t)
    const artifacts = () => fs.readdirSync(cache, { recursive: true }).filter((name) => name.endsWith('.cwasm')).length
    const first = await auto(run(), { cache })
    t.is(first.told[0], 'builtin')
    t.deepEqual(first.seen, [])
    t.is(first.verdicts.length, 1)
    const { version } = require('../package.json')
    t.like(first.verdicts[0], { engine: 'builtin', basis: 'little', size: SIZE, package: version, node: process.version })
    t.regex(first.verdicts[0].reason, /^V8 compiled for \d+ ms only$/)
    t.is(artifacts(), 0)

    // As if V8 had.
    const busy = `process.cpuUsage = () => ({ user: 1e9, system: 0 });${run()}`
    t.deepEqual((await auto(busy, { cache })).verdicts, [], 'it is not known any more')
    // As it is without a word of the user's: when the machine has nothing else to do, or after some seconds.
    const judgedBy = await auto(busy, { cache })
    t.deepEqual(judgedBy.seen, [])
    t.like(judgedBy.verdicts, [{ engine: 'ours', basis: 'artifact' }])
    t.is(artifacts(), 1)
    const last = await auto(run(), { cache })
    t.deepEqual(last.told, ['optimized', await plain(t), true, true, true, true])
  })

  test('a module that this engine refuses is found out once, and never loads it again', async (t) => {
    const cache = folder(t)
    const code = `new WebAssembly.Module(${read(refused)}); tell(hasAddon())`
    const first = await auto(code, { cache, env: { ...JUDGED, ...withoutShim(t) } })
    t.is(first.told, false)
    t.like(first.verdicts[0], { engine: 'builtin', basis: 'refused' })
    t.is(first.verdicts[0].codes, undefined)
    t.regex(first.verdicts[0].reason, /^tail call at byte \d+$/)
    const second = await auto(code, { cache, env: { ...JUDGED, ...withoutShim(t), NODE_DEBUG: 'wasm-compile-cache' } })
    t.is(second.told, false)
    t.regex(second.stderr, /verdict bytes \(128 kB\): the built-in engine compiles: tail call at byte \d+/)
    t.deepEqual(second.seen, [])
  })

  test('a process that is killed leaves what the next one takes up', async (t) => {
    const cache = folder(t)
    const kills = `${run()}; process.kill(process.pid, 'SIGKILL')`
    await t.throwsAsync(auto(kills, { cache, env: JUDGED }), { message: /SIGKILL/ })
    const [word] = seen(cache)
    t.deepEqual(seen(cache), [word], 'a word of the module, of which V8 had the bytes')
    t.like(JSON.parse(fs.readFileSync(path.join(cache, 'seen', word))), { size: SIZE })
    // While it is new, another process may be about to take it up.
    await auto(run(), { cache, env: JUDGED })
    t.deepEqual(seen(cache), [word])
    const old = Date.now() / 1000 - 120
    fs.utimesSync(path.join(cache, 'seen', word), old, old)
    // This one is killed, too.
    await t.throwsAsync(auto(kills, { cache, env: JUDGED }), { message: /SIGKILL/ })
    await judged(cache)
    t.deepEqual(seen(cache), [])
    t.like(verdicts(cache), [{ engine: 'ours' }])
  })

  test('a module that the program does not have any more at its end is left at once by the next run', async (t) => {
    const cache = folder(t)
    // After some seconds, in which V8 compiled little, it is the program's alone.
    const drops = `
      ${LATER}
      process.cpuUsage = () => ({ user: 0, system: 0 })
      new WebAssembly.Module(${read(file)})
      later()
      delete process.cpuUsage
      process.cpuUsage = () => ({ user: 1e9, system: 0 })
      setTimeout(() => { gc(); tell(0) }, 1)`
    const flags = ['--expose-gc', '--require', REGISTER]
    const first = await auto(drops, { cache, flags })
    t.deepEqual([first.seen.length, first.verdicts], [1, []])
    const next = await auto(run(), { cache, env: JUDGED })
    t.deepEqual(next.seen, [])
    t.like(next.verdicts, [{ engine: 'ours' }])
  })

  test('what was read from a file beside the script that has it compiled is copied from there; another file of its size is not', async (t) => {
    const script = (at, from) => {
      const name = path.join(at, 'glue.js')
      fs.writeFileSync(name, `new WebAssembly.Module(require('node:fs').readFileSync(${JSON.stringify(from)}))`)
      return name
    }
    // As if V8 had not the bytes.
    const code = (name) => `
      process.cpuUsage = () => ({ user: 1e9, system: 0 })
      require(${JSON.stringify(shimFile())}).wire = () => { throw new Error('it is asked for the bytes') }
      require(${JSON.stringify(name)})
      tell(Object.getOwnPropertyNames(Error).filter((name) => name.startsWith('prepare')))`
    const [beside, elsewhere] = [folder(t), folder(t)]
    const bytes = fs.readFileSync(file)
    fs.writeFileSync(path.join(beside, 'b.wasm'), bytes)
    for (const at of [beside, elsewhere]) fs.writeFileSync(path.join(at, 'a.wasm'), Buffer.alloc(bytes.length))
    const { verdicts: found, told } = await auto(code(script(beside, path.join(beside, 'b.wasm'))), {
      cache: folder(t),
      env: JUDGED,
    })
    t.like(found, [{ engine: 'ours', size: SIZE }])
    t.deepEqual(
      told,
      Object.getOwnPropertyNames(Error).filter((name) => name.startsWith('prepare')),
      'nothing of it is left'
    )
    const other = await auto(code(script(elsewhere, file)), { cache: folder(t), env: JUDGED })
    t.deepEqual([other.verdicts, other.seen], [[], []])
  })

  test('a process ends, whatever keeps the child that writes what it leaves', async (t) => {
    const cache = folder(t)
    const large = path.join(root, 'large.wasm')
    fs.writeFileSync(large, padded(fs.readFileSync(file), 64 * 1024 * 1024))
    // Whoever has written it nevertheless goes on in the end.
    const code = `process.cpuUsage = () => ({ user: 1e9, system: 0 });${run(large)}
      process.on('exit', () => {
        const [child] = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').split(' ').filter(Boolean)
        process.kill(child, 'SIGSTOP')
        const later = ['-c', 'sleep 5; kill -CONT ' + child]
        require('node:child_process').spawn('sh', later, { detached: true, stdio: 'ignore', env: { PATH: process.env.PATH } })
      })`
    const { told, verdicts: found, seen: left } = await auto(code, { cache, env: JUDGED })
    t.is(told[0], 'builtin')
    if (found.length === 0) t.false(left.some((name) => name.endsWith('.wasm')))
  })

  test('what a process that ends has written for it, its parent does not wait for', async (t) => {
    const cache = folder(t)
    const code = `process.cpuUsage = () => ({ user: 1e9, system: 0 });${run()}
      process.on('exit', () => {
        // The child has nothing of its parent's, from the moment on in which it has another name.
        const [child] = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').split(' ').filter(Boolean)
        const of = (what) => fs.readFileSync('/proc/' + child + '/' + what, 'utf8').trim()
        while (of('comm') !== 'sh');
        const open = fs.readdirSync('/proc/' + child + '/fd').map((fd) => fs.readlinkSync('/proc/' + child + '/fd/' + fd))
        tell([open.filter((name) => name !== '/dev/null'), of('stat').split(' ')[5] === child, fs.readlinkSync('/proc/' + child + '/cwd')])
      })`
    const { told, verdicts: found } = await auto(code, { cache })
    t.deepEqual(told, [[], true, '/'])
    t.like(found, [{ engine: 'ours' }])
  })

  test('a worker thread leaves its modules before the process ends, of which nothing tells it', async (t) => {
    const code = `
      const { Worker } = require('node:worker_threads')
      const worker = new Worker(\`
        const { parentPort } = require('node:worker_threads')
        new WebAssembly.Module(require('node:fs').readFileSync(${JSON.stringify(file)}))
        parentPort.postMessage(0)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)\`, { eval: true })
      worker.on('message', (message) => { tell(message); process.exit() })`
    const { seen: left, verdicts: found } = await auto(code, { cache: folder(t), env: JUDGED })
    t.deepEqual(left, [])
    t.like(found, [{ engine: 'ours', basis: 'artifact' }])
  })

  test('a program that stays leaves a module once, however often it compiles it', async (t) => {
    const cache = folder(t)
    const code = `
      ${LATER}
      require('node:child_process').spawn = () => ({ on() {}, unref() {} })
      const bytes = ${read(file)}
      const left = () => fs.readdirSync(${JSON.stringify(path.join(cache, 'seen'))})
      new WebAssembly.Module(bytes)
      const first = left().length
      later()
      // As the process that finds out.
      for (const name of left()) fs.rmSync(${JSON.stringify(path.join(cache, 'seen'))} + '/' + name)
      new WebAssembly.Module(bytes)
      tell([first, left()])`
    t.deepEqual((await auto(code, { cache, env: JUDGED })).told, [1, []])
  })

  test('what waits for its turn is what the system ends first, out of memory', async (t) => {
    const code = `
      process.cpuUsage = () => ({ user: 1e9, system: 0 })
      new WebAssembly.Module(${read(file)})
      process.on('exit', () => {
        const [child] = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').split(' ').filter(Boolean)
        const of = (what) => fs.readFileSync('/proc/' + child + '/' + what, 'utf8').trim()
        // Until the shell becomes something else.
        while (of('comm') !== 'sh' || of('oom_score_adj') !== '1000');
        tell([of('comm'), of('oom_score_adj')])
      })`
    t.deepEqual((await auto(code, { cache: folder(t) })).told, ['sh', '1000'])
  })

  test('imports that cross with every call are a reason for the built-in', async (t) => {
    const cache = folder(t)
    const bytes = padded(await assemble('(module (import "env" "invoke_vi" (func (param i32 i32))))'), SIZE)
    const name = path.join(folder(t), 'invokes.wasm')
    fs.writeFileSync(name, bytes)
    const { verdicts: found } = await auto(`new WebAssembly.Module(${read(name)}); tell(0)`, { cache, env: JUDGED })
    t.like(found[0], { engine: 'builtin', basis: 'imports' })
    t.regex(found[0].reason, /invoke_\*/)
  })

  test('an interface of many functions is a reason for the built-in', async (t) => {
    const exported = (count) => Array.from({ length: count }, (_, index) => `(export "f${index}" (func 0))`).join('')
    const judgedOf = async (name, count) => {
      const at = path.join(folder(t), `${name}.wasm`)
      fs.writeFileSync(at, padded(await assemble(`(module (func) ${exported(count)})`), SIZE))
      const { verdicts: found } = await auto(`new WebAssembly.Module(${read(at)}); tell(0)`, { cache: folder(t), env: JUDGED })
      return found[0]
    }
    t.not((await judgedOf('few', 399)).basis, 'imports')
    const many = await judgedOf('many', 400)
    t.like(many, { engine: 'builtin', basis: 'imports' })
    t.is(many.reason, 'it imports 0 functions and exports 400: an interface of small steps')
  })
}

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
  const builtin = { run: { wall: 100, cpu: 100, main: 10, argv } }

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

  const better = await known(t)
  change(better, builtin)
  for (let count = 0; count < 4; count++) await auto(lasting(50), { cache: better, args })
  const [kept] = verdicts(better)
  t.is(kept.engine, 'ours')
  t.is(kept.runs.length, 3, 'then there is nothing more to write')
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
  const [url] = process.argv.slice(1)
  const imports = { env: { tick: (x) => x + 1 } }
  async function main() {
    const { module, instance } = await WebAssembly.instantiateStreaming(fetch(url), imports)
    const made = new Response(${read('FILE')}, { headers: { 'content-type': 'application/wasm' } })
    const other = await WebAssembly.compileStreaming(made)
    const wrong = await WebAssembly.compileStreaming(fetch(url + '?text')).catch(({ name, code, message }) => [name, code, message])
    tell([instance.exports.run(9), wrong, [module, other].map((one) => WebAssembly.Module.tier?.(one)), hasAddon()])
  }
  main()`.replace('"FILE"', 'FILE')

test('streamed modules, known or not', async (t) => {
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
  const first = await auto(code, { cache, args, env: linux ? JUDGED : { WASM_COMPILE_CACHE_FINISH: '0' } })
  t.deepEqual(first.told, [...expected.slice(0, 2), ['builtin', 'builtin'], false])
  t.deepEqual(first.seen, [])
  if (!linux) return
  // By its bytes and by its address.
  t.is(first.verdicts.length, 2)
  for (const { file: at, ...verdict } of first.verdicts) {
    fs.writeFileSync(at, JSON.stringify({ ...verdict, engine: 'ours', basis: 'artifact' }, null, 1))
  }
  const second = await auto(code, { cache, args })
  t.deepEqual(second.told, [...expected.slice(0, 2), ['optimized', 'optimized'], true])
})

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
