'use strict'
// The cache as an object. A process has one cache, so each test is a process, or several, with a folder of their own.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const test = require('ava')

const { entries, environment, folder } = require('./support/commands.js')
const { over } = require('./support/processes.js')

const ROOT = path.join(__dirname, '..')
const WEBP = path.join(ROOT, 'node_modules/@jsquash/webp/codec')
const DECODER = path.join(WEBP, 'dec/webp_dec.wasm')
const ENCODER = path.join(WEBP, 'enc/webp_enc.wasm')

/**
 * Runs the body of an async function, which knows the package as `W`, `cache`, `store(file, options)` (compiles both tiers
 * and stores), `DECODER` and `ENCODER`; what it returned, by way of JSON.
 */
function program(body, { cache, env = {}, flags = [], cwd } = {}) {
  const code = `
    const W = require(${JSON.stringify(ROOT)})
    const { cache } = W
    const fs = require('node:fs')
    const [DECODER, ENCODER] = ${JSON.stringify([DECODER, ENCODER])}
    const store = async (file, options) => {
      const module = await W.compile(fs.readFileSync(file), options)
      await W.Module.optimized(module)
      await cache.flush()
      return module
    }
    const main = async () => { ${body} }
    main().then((value) => fs.writeSync(1, JSON.stringify(value ?? null)))`
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env })
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [...flags, '-e', code], { env: all, cwd }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`${error.signal ?? error.code}\n${stderr}`))
      else resolve(JSON.parse(stdout))
    })
  })
}

const PERMISSION = process.allowedNodeEnvironmentFlags.has('--permission') ? '--permission' : '--experimental-permission'

const place = (t) => path.join(folder(t), 'cache')

// ── enable ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test('without a call the cache is where the environment says, as soon as it is used', async (t) => {
  const cache = place(t)
  t.deepEqual(await program('return [cache.directory, cache.enable()]', { cache }), [
    cache,
    { status: 'already-enabled', directory: cache },
  ])
  t.deepEqual(await program('await store(DECODER); return cache.enable("/elsewhere")', { cache }), {
    status: 'already-enabled',
    directory: cache,
  })
  t.is(entries(cache).length, 1)
})

test('enable places the cache after the package was loaded, before it is used; the first configuration counts', async (t) => {
  const [cache, other] = [place(t), place(t)]
  const [first, second, directory] = await program(
    `const first = cache.enable({ directory: ${JSON.stringify(cache)} })
     const second = cache.enable(${JSON.stringify(other)})
     await store(DECODER)
     return [first, second, cache.directory]`,
    { cache: other }
  )
  t.deepEqual(first, { status: 'enabled', directory: cache })
  t.deepEqual(second, { status: 'already-enabled', directory: cache })
  t.is(directory, cache)
  t.is(entries(cache).length, 1)
  t.false(fs.existsSync(other))
})

test('a string is the directory, relative to the current folder', async (t) => {
  const cwd = fs.realpathSync(folder(t))
  t.deepEqual(await program('return cache.enable("below/cache")', { cwd }), {
    status: 'enabled',
    directory: path.join(cwd, 'below/cache'),
  })
  const cache = place(t)
  const broken = await program('return cache.enable("below/x\\ud800")', { cwd })
  t.deepEqual(broken, { status: 'enabled', directory: path.join(cwd, 'below/x\ufffd') }, 'as Node has such a path')
  t.deepEqual(await program('return cache.enable()', { cache }), { status: 'enabled', directory: cache })
})

test('threads share the cache of the process: the first that uses it has placed it', async (t) => {
  const [cache, other] = [place(t), place(t)]
  const status = await program(
    `const { Worker } = require('node:worker_threads')
     const code = "const { cache } = require(" + ${JSON.stringify(JSON.stringify(ROOT))} + "); require('node:worker_threads').parentPort.postMessage(cache.enable(" + ${JSON.stringify(JSON.stringify(cache))} + "))"
     const worker = new Worker(code, { eval: true })
     const [first] = await require('node:events').once(worker, 'message')
     return [first, cache.enable(${JSON.stringify(other)})]`
  )
  t.deepEqual(status, [
    { status: 'enabled', directory: cache },
    { status: 'already-enabled', directory: cache },
  ])
})

test('read-only: what is there is used, and nothing is changed', async (t) => {
  const cache = place(t)
  await program('await store(DECODER)', { cache })
  const before = fs.readdirSync(cache, { recursive: true }).sort()
  const [status, tiers, removed] = await program(
    `const status = cache.enable({ mode: 'read-only' })
     const modules = [await W.compile(fs.readFileSync(DECODER)), await W.compile(fs.readFileSync(ENCODER))]
     const tiers = modules.map((module) => W.Module.tier(module))
     await Promise.all(modules.map((module) => W.Module.optimized(module)))
     await cache.flush()
     const removed = [cache.prune({ maxSize: 0 }), cache.clear()]
     return [status, tiers, removed]`,
    { cache }
  )
  t.deepEqual(status, { status: 'read-only', directory: cache })
  t.deepEqual(removed, [
    { files: 0, bytes: 0 },
    { files: 0, bytes: 0 },
  ])
  t.deepEqual(tiers, ['optimized', 'baseline'])
  t.deepEqual(fs.readdirSync(cache, { recursive: true }).sort(), before)
})

test('disabled by the user: no program switches it on', async (t) => {
  const cache = place(t)
  const found = await program(
    `const status = cache.enable(${JSON.stringify(cache)})
     await store(DECODER)
     return [status.status, typeof status.message, cache.directory, cache.entries()]`,
    { env: { WASM_DISABLE_COMPILE_CACHE: '1' } }
  )
  t.deepEqual(found, ['disabled', 'string', null, []])
  t.false(fs.existsSync(cache))
})

test('failed: it does not throw, says why, and modules are compiled', async (t) => {
  const file = path.join(folder(t), 'file')
  fs.writeFileSync(file, '')
  const [status, tier] = await program(
    `const status = cache.enable(${JSON.stringify(file)})
     return [status, W.Module.tier(await store(DECODER))]`
  )
  t.is(status.status, 'failed')
  t.true(status.message.includes(`${file} is not a directory`), status.message)
  t.is(tier, 'optimized')
})

test('failed: a relative directory, where the current one is gone, is not the default one', async (t) => {
  const [cwd, home] = [folder(t), folder(t)]
  const [status, tier, directory] = await program(
    `fs.rmdirSync(process.cwd())
     const status = cache.enable('below')
     return [status, W.Module.tier(await store(DECODER)), cache.directory]`,
    { cwd, env: { HOME: home, XDG_CACHE_HOME: undefined } }
  )
  t.like(status, { status: 'failed', directory: undefined })
  t.true(status.message.includes('below'), status.message)
  t.deepEqual([tier, directory], ['optimized', null])
  t.deepEqual(fs.readdirSync(home), [])
})

test('failed: options that are none', async (t) => {
  const statuses = await program(
    `return [{ direktory: '/x' }, { directory: 1 }, { directory: '' }, { mode: 'w' }, { maxSize: '1G' }, { maxSize: -1 }, { maxEntrySize: NaN }, null, 7]
       .map((options) => cache.enable(options))`
  )
  for (const { status } of statuses) t.is(status, 'failed')
  t.regex(statuses[0].message, /There is no option "direktory"\. The options are directory, maxSize, maxEntrySize, mode/)
  t.regex(statuses[4].message, /"maxSize" must be a number of bytes, got string/)
})

test('node --permission: what may not be written is only read, what may not be read is not used', async (t) => {
  const cache = place(t)
  await program('await store(DECODER)', { cache })
  const flags = [
    PERMISSION,
    '--allow-addons',
    '--no-warnings',
    `--allow-fs-read=${ROOT}/*`,
    `--allow-fs-read=${fs.realpathSync(path.join(ROOT, 'node_modules'))}/*`,
  ]
  const body = `return [cache.enable(${JSON.stringify(cache)}).status, cache.entries().length]`
  t.deepEqual(await program(body, { flags }), ['disabled', 0])
  t.deepEqual(await program(body, { flags: [...flags, `--allow-fs-read=${cache}/*`] }), ['read-only', 1])
})

test('node --permission: a cache whose place was not known when it was asked for is not used', async (t) => {
  const home = folder(t)
  const body = `process.env.HOME = ${JSON.stringify(home)}
    return [W.Module.tier(await store(DECODER)), cache.directory]`
  const flags = [PERMISSION, '--allow-addons', '--no-warnings', '--allow-fs-read=*']
  const env = { HOME: 'relative', XDG_CACHE_HOME: undefined }
  t.deepEqual(await program(body, { flags, env }), ['optimized', null])
  t.deepEqual(fs.readdirSync(home), [])
})

test('minSize of one compile is not that of another of the same bytes', async (t) => {
  const cache = place(t)
  const found = await program(
    `const first = await store(DECODER, { minSize: Infinity })
     const before = cache.entries().length
     const second = await store(DECODER, { minSize: 0 })
     return [before, cache.entries().length, W.Module.tier(first), W.Module.tier(second)]`,
    { cache }
  )
  t.deepEqual(found, [0, 1, 'optimized', 'optimized'])
})

test('maxEntrySize and maxSize: what is larger is not stored, what was least recently used makes room', async (t) => {
  const cache = place(t)
  t.is(await program('cache.enable({ maxEntrySize: 1000 }); await store(DECODER); return cache.entries().length', { cache }), 0)
  const [{ bytes }] = await program('await store(DECODER); return cache.entries()', { cache })
  const maxSize = 2 * bytes
  const left = await program(
    `cache.enable({ maxSize: ${maxSize} })
     await store(ENCODER)
     return [cache.entries().map(({ wasmBytes }) => wasmBytes), cache.stats()]`,
    { cache }
  )
  t.is(left[1].limit, maxSize)
  t.true(left[1].bytes <= maxSize)
  t.true(left[0].length < 2)
  const limit = 'return cache.stats().limit'
  t.is(await program(limit, { cache, env: { WASM_COMPILE_CACHE_MAX_SIZE: '5M' } }), 5 * 2 ** 20)
  t.is(await program(`cache.enable({ maxSize: 7 }); ${limit}`, { cache, env: { WASM_COMPILE_CACHE_MAX_SIZE: '5M' } }), 7)
})

test('a process that is left behind to finish a module uses the cache that was enabled, and its limits', async (t) => {
  const [cache, other] = [place(t), place(t)]
  const spawned = await program(
    `cache.enable({ directory: ${JSON.stringify(cache)}, maxSize: 5e8, maxEntrySize: 4e8 })
     // Instead of the finisher's process: what it would be given.
     const given = []
     require('node:child_process').spawn = (program, argv, { env }) => {
       given.push(env)
       return { on() {}, unref() {}, pid: 1 }
     }
     await W.compile(fs.readFileSync(require.resolve('sql.js/dist/sql-wasm.wasm')))
     process.on('exit', () => fs.writeSync(1, JSON.stringify(given)))
     await new Promise(() => {})`,
    { cache: other, env: { WASM_COMPILE_CACHE_FINISH: '1' }, cwd: ROOT }
  )
  t.is(spawned.length, 1)
  t.like(spawned[0], {
    WASM_COMPILE_CACHE: cache,
    WASM_COMPILE_CACHE_MAX_SIZE: '500000000',
    WASM_COMPILE_CACHE_MAX_ENTRY_SIZE: '400000000',
  })
  t.false(fs.existsSync(other))
})

// ── What is in it ───────────────────────────────────────────────────────────────────────────────────────────────────

test('stats: of this process and of all', async (t) => {
  const cache = place(t)
  const cold = await program('await store(DECODER); return cache.stats()', { cache })
  t.like(cold.process, { hits: 0, misses: { absent: 1 }, writes: 1, writeFailures: 0, evicted: 0, quarantined: 0 })
  t.deepEqual(cold.process, cold.total)
  t.is(cold.entries, 1)
  t.true(cold.bytes > 0 && cold.bytes < cold.limit)
  t.true(cold.process.bytesWritten > 0)
  const hot = await program('await store(DECODER); await store(ENCODER, { partition: "p" }); return cache.stats()', { cache })
  t.like(hot.process, { hits: 1, misses: { absent: 1 }, writes: 1 })
  t.like(hot.total, { hits: 1, misses: { absent: 2 }, writes: 2 })
  const partition = await program('await store(DECODER, { partition: "q", cache: "read-only" }); return cache.stats().process', {
    cache,
  })
  t.like(partition, { hits: 0, misses: { 'other-partition': 1 }, writes: 0 })
})

test('stats: what a process did that was left behind to finish a module, counts', async (t) => {
  const cache = place(t)
  // The process that leaves it behind is killed before it has counted what it did itself.
  const killed = program(
    `const processes = require('node:child_process')
     const { spawn } = processes
     processes.spawn = (...args) => {
       fs.writeSync(2, \`\${spawn(...args).pid}\`)
       process.kill(process.pid, 'SIGKILL')
     }
     await W.compile(fs.readFileSync(require.resolve('sql.js/dist/sql-wasm.wasm')))`,
    { cache, env: { WASM_COMPILE_CACHE_FINISH: '1' }, cwd: ROOT }
  )
  const { message } = await t.throwsAsync(killed, { message: /^SIGKILL\n\d+$/ })
  await over([Number(message.split('\n')[1])])
  t.is(entries(cache).length, 1)
  t.like(await program('return cache.stats().total', { cache }), { writes: 1 })
})

test('entries: where each came from, and what it takes', async (t) => {
  const cache = place(t)
  const before = Date.now()
  const found = await program(
    `const { pathToFileURL } = require('node:url')
     await W.Module.optimized(await W.compileStreaming(pathToFileURL(DECODER), { partition: 'p' }))
     await cache.flush()
     return cache.entries()`,
    { cache }
  )
  t.is(found.length, 1)
  const [entry] = found
  t.like(entry, { source: pathToFileURL(DECODER).href, partition: 'p', wasmBytes: fs.statSync(DECODER).size, current: true })
  t.deepEqual([entry.path], entries(cache))
  t.true(entry.path.includes(entry.key))
  t.regex(entry.hash, /^[0-9a-f]{64}$/)
  t.true(entry.bytes >= fs.statSync(entry.path).size)
  t.true(entry.created >= before - 1000 && entry.created <= Date.now())
  t.true(Math.abs(entry.lastUsed - Date.now()) < 3600_000)
  t.regex(entry.engine.wasmer, /^\d+\./)
})

test('verify: a defective entry is quarantined, counted, and compiled anew', async (t) => {
  const cache = place(t)
  await program('await store(DECODER); await store(ENCODER)', { cache })
  t.like(await program('return cache.verify()', { cache }), { verified: 2, quarantined: [] })
  const [file] = entries(cache)
  const bytes = fs.readFileSync(file)
  bytes[1000] ^= 1
  fs.writeFileSync(file, bytes)
  const [report, stats] = await program('return [await cache.verify(), cache.stats()]', { cache })
  t.is(report.verified, 1)
  t.is(report.quarantined[0].reason, 'seal-mismatch')
  t.is(stats.quarantined.files, 1)
  t.is(stats.process.quarantined, 1)
  await program('await store(DECODER); await store(ENCODER)', { cache })
  t.like(await program('return cache.verify()', { cache }), { verified: 2, quarantined: [] })
})

test('prune and clear say what they removed; who has it mapped goes on', async (t) => {
  const cache = place(t)
  const told = await program(
    `const module = await store(DECODER)
     const kept = cache.prune()
     const young = cache.prune({ maxAge: 3600_000, maxSize: 2 ** 30 })
     const before = cache.entries().length
     const pruned = cache.prune({ maxSize: 0 })
     const after = cache.entries().length
     await store(ENCODER)
     const cleared = cache.clear()
     return { kept, young, before, pruned, after, cleared, left: cache.entries().length, imports: W.Module.imports(module).length }`,
    { cache }
  )
  t.deepEqual(told.kept, { files: 0, bytes: 0 })
  t.deepEqual(told.young, { files: 0, bytes: 0 })
  t.deepEqual([told.before, told.after, told.left], [1, 0, 0])
  t.true(told.pruned.files >= 1 && told.pruned.bytes > 0)
  t.true(told.cleared.files >= 1 && told.cleared.bytes > 0)
  t.true(told.imports > 0)
})

test('prune refuses what is no limit', async (t) => {
  const codes = await program(
    `return [{ maxAge: '30d' }, { maxSize: -1 }, { size: 1 }, null].map((options) => {
       try { return cache.prune(options) } catch ({ name, code }) { return name + ' ' + code }
     })`,
    { cache: place(t) }
  )
  t.deepEqual(codes, [
    'TypeError ERR_INVALID_ARG_TYPE',
    'TypeError ERR_INVALID_ARG_VALUE',
    'TypeError ERR_INVALID_ARG_VALUE',
    'TypeError ERR_INVALID_ARG_TYPE',
  ])
})

test('flush: when it resolves, what is to be stored is', async (t) => {
  const cache = place(t)
  const stored = await program(
    `const bytes = [DECODER, ENCODER].map((file) => fs.readFileSync(file))
     await Promise.all(bytes.map((one) => W.compile(one)))
     await cache.flush()
     return cache.entries().length`,
    { cache }
  )
  t.is(stored, 2)
  t.is(await program('await cache.flush(); return "at once"', { cache }), 'at once')
})

test('flush: a module that cannot be stored does not keep it waiting', async (t) => {
  const file = path.join(folder(t), 'file')
  fs.writeFileSync(file, '')
  t.is(await program('await W.compile(fs.readFileSync(DECODER)); await cache.flush(); return "over"', { cache: file }), 'over')
})

test('the object cannot be changed', (t) => {
  const { cache } = require('../index.js')
  t.true(Object.isFrozen(cache))
  t.deepEqual(Object.keys(require('../index.js').WebAssembly).includes('cache'), false, "the namespace is the standard's")
})
