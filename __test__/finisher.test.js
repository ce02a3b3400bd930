'use strict'
// Commands that end before the optimizing tier is done leave a warm cache: a detached process finishes their modules.
//
// That the tier is not done is made certain by giving it something larger to do first (`busy`), and a finisher is kept
// from being too fast for the test by stopping it (SIGSTOP) until the test has looked.

const { execFileSync, fork, spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const initial = require('ava')
const { addonPath } = require('../scripts/build.js')
const { HOT, entries, environment, files, folder, litter, named, run, start, story, together } = require('./support/commands.js')
const { inspect, linux, mentioning, over, until } = require('./support/processes.js')
const { answer, handler, machine, padded } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const test = linux ? initial.serial : initial.serial.skip
initial('finishers are tested where processes can be looked at', (t) => {
  if (!linux) t.log(`not on ${process.platform}: it takes /proc`)
  t.is(linux, fs.existsSync('/proc/self/stat'))
})

const ON = { WASM_COMPILE_CACHE_FINISH: undefined }
const CALLS = [['run', 9]]
const FINISH = path.join(__dirname, '../dist/finish.js')
const WORKERS_ONLY = path.join(__dirname, 'children/workers-only.js')
// A second's work for a finisher.
const LARGE = require.resolve('sql.js/dist/sql-wasm.wasm')

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-modules-'))
initial.after.always(() => remove(root))
const file = path.join(root, 'module.wasm')
const second = path.join(root, 'second.wasm')
initial.before(async () => {
  fs.writeFileSync(file, padded(await machine(), 128 * 1024))
  fs.writeFileSync(second, padded(await answer(7), 128 * 1024))
})

const job = (more, options) => ({ modules: [{ file, options, calls: CALLS }], busy: true, end: 'exit', ...more })
const pids = (ended) => [...new Set(named(ended, 'handedOff').map(({ pid }) => pid))]
const spools = (cache) => files(cache).filter((name) => name.endsWith('.spool'))

/** The next command of the same module finds it. */
async function warm(t, cache, which = file) {
  t.deepEqual(story(await run({ modules: [{ file: which }] }, { cache })), HOT)
  t.deepEqual(litter(cache), [])
}

/** A cache directory that was swept just now: nobody sweeps it again, and leaves half of that at a sudden end. */
async function swept(t, settings = { cache: folder(t) }) {
  await run({ modules: [{ file, options: { cache: 'read-only' } }] }, settings)
  return settings.cache
}

/** What all processes have counted. */
function counted(cache) {
  const code = `console.log(JSON.stringify(require(${JSON.stringify(path.join(__dirname, '..'))}).cache.stats().total))`
  return JSON.parse(execFileSync(process.execPath, ['-e', code], { env: environment({ WASM_COMPILE_CACHE: cache }) }))
}

/** Does `job` with its finishers stopped; the test kills them at its end, however it ends. */
async function frozen(t, what, settings) {
  const ended = await run({ ...what, freeze: true }, { ...settings, env: { ...ON, ...settings.env } })
  t.teardown(() => {
    for (const pid of pids(ended)) if (mentioning(settings.cache).includes(pid)) process.kill(pid, 'SIGKILL')
  })
  return ended
}

async function finish(ended) {
  for (const pid of pids(ended)) process.kill(pid, 'SIGCONT')
  await over(pids(ended))
}

test('what a finisher stores knows of the handlers of exceptions', async (t) => {
  const cache = folder(t)
  const catching = path.join(root, 'handler.wasm')
  fs.writeFileSync(catching, padded(await handler(), 128 * 1024))
  const modules = [{ file: catching, calls: CALLS }]
  const ended = await frozen(t, job({ modules }), { cache })
  t.deepEqual(ended.modules[0].results, [1])
  await finish(ended)
  const hot = await run({ modules }, { cache })
  t.deepEqual(story(hot), HOT)
  t.deepEqual(hot.modules[0].results, [1])
})

// ── The ends of a command ───────────────────────────────────────────────────────────────────────────────────────────

for (const [end, name] of [
  ['exit', 'process.exit()'],
  ['return', 'its own end'],
  ['throw', 'an uncaught exception'],
]) {
  test(`a command that ends early by ${name} leaves one process, which ends, and a warm cache`, async (t) => {
    const cache = folder(t)
    const ended = await frozen(t, job({ end }), { cache })
    t.is(ended.modules[0].tier, 'baseline')
    t.deepEqual(entries(cache), [])
    t.deepEqual(pids(ended), mentioning(cache), 'one, and the one that was told')
    t.is(pids(ended).length, 1)
    const [{ spool }] = named(ended, 'handedOff')
    t.deepEqual(
      spools(cache).map((each) => path.join(cache, each)),
      [spool]
    )
    t.is(fs.statSync(spool).mode & 0o7777, 0o600)
    await finish(ended)
    t.is(entries(cache).length, 1)
    t.deepEqual(mentioning(cache), [])
    await warm(t, cache)
  })
}

for (const end of ['return', 'terminate', 'exit']) {
  test(`a command whose workers alone load the package leaves one process, too: ${end}`, async (t) => {
    const cache = folder(t)
    const env = environment({ ...ON, WASM_COMPILE_CACHE: cache })
    const child = spawn(process.execPath, [WORKERS_ONLY, LARGE, file, end], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    const output = []
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => output.push(`${text}`))
    t.deepEqual(await once(child, 'close'), [0, null])
    t.deepEqual(output, [])
    await until(() => entries(cache).length === 1, 'it has stored the module')
    await over(mentioning(cache))
    t.like(counted(cache), { misses: { absent: 1 }, writes: 1 })
    await warm(t, cache)
  })
}

test('a command whose workers alone load the package leaves nobody if it is not to', async (t) => {
  const cache = folder(t)
  const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
  const child = spawn(process.execPath, [WORKERS_ONLY, LARGE, file, 'return'], { env, stdio: 'ignore' })
  t.deepEqual(await once(child, 'close'), [0, null])
  t.deepEqual([...mentioning(cache), ...spools(cache), ...entries(cache)], [])
  t.like(counted(cache), { misses: { absent: 1 } })
})

test('one process for all: two modules, and one of them in two partitions, are three, the smallest first', async (t) => {
  const cache = folder(t)
  const modules = [{ file }, { file: second }, { file, options: { partition: 'p' } }, { file, as: 'stream' }]
  const ended = await frozen(t, job({ modules }), { cache })
  const left = named(ended, 'handedOff').map(({ spool }) => spool)
  t.deepEqual(
    [...left].sort(),
    spools(cache).map((each) => path.join(cache, each))
  )
  t.is(left.length, 3)
  const sizes = left.map((spool) => fs.statSync(spool).size)
  t.deepEqual(
    sizes,
    [...sizes].sort((a, b) => a - b)
  )
  t.is(pids(ended).length, 1)
  t.deepEqual(mentioning(cache), pids(ended))
  t.deepEqual(inspect(pids(ended)[0]).argv, [process.execPath, FINISH, ...left])
  await finish(ended)
  t.is(entries(cache).length, 3)
  await warm(t, cache)
  await warm(t, cache, second)
  t.deepEqual(story(await run({ modules: [{ file, options: { partition: 'p' } }] }, { cache })), HOT)
})

test('a command whose modules are stored, or are not to be, leaves nobody', async (t) => {
  const cache = folder(t)
  for (const options of [{ cache: false }, { cache: 'read-only' }, { optimize: false }, { minSize: 1 << 30 }]) {
    t.deepEqual(pids(await run(job({}, options), { cache, env: ON })), [], JSON.stringify(options))
  }
  t.deepEqual(pids(await run(job(), { cache, env: { ...ON, WASM_DISABLE_COMPILE_CACHE: '1' } })), [])
  t.deepEqual(
    files(cache).filter((name) => /\.(spool|cwasm)$/.test(name)),
    []
  )
  await run({ modules: [{ file }] }, { cache })
  t.deepEqual(pids(await run(job(), { cache, env: ON })), [])
  t.deepEqual(mentioning(cache), [])
})

test('WASM_COMPILE_CACHE_FINISH=0 and finish: false leave nobody and nothing', async (t) => {
  const cache = folder(t)
  const off = [
    await run(job(), { cache, env: { WASM_COMPILE_CACHE_FINISH: '0' } }),
    await run(job({}, { finish: false }), { cache, env: ON }),
  ]
  for (const ended of off) {
    t.deepEqual(
      story(ended).filter((name) => name !== 'optimizedReady'),
      ['baselineReady', 'baselineReady']
    )
  }
  t.deepEqual(mentioning(cache), [])
  t.deepEqual([...spools(cache), ...entries(cache)], [])
  const ended = await frozen(t, job({}, { finish: true }), { cache })
  t.is(pids(ended).length, 1)
  await finish(ended)
})

test('finish: false of one compile is not that of another of the same bytes', async (t) => {
  const cache = folder(t)
  const modules = [{ file, options: { finish: false } }, { file }]
  const ended = await frozen(t, job({ modules }), { cache })
  t.is(named(ended, 'handedOff').length, 1)
  await finish(ended)
  await warm(t, cache)
})

// ── Many at once ────────────────────────────────────────────────────────────────────────────────────────────────────

test('ten commands that end at once on the same module: one artifact is written', async (t) => {
  const cache = await swept(t)
  const [version] = files(cache).filter((name) => /^v[^/]*$/.test(name))
  const written = []
  const watcher = fs.watch(path.join(cache, version), (_, name) => /\.cwasm$/.test(name) && written.push(name))
  t.teardown(() => watcher.close())
  const commands = Array.from({ length: 10 }, () => start(job({ ready: true }), { cache, env: ON }))
  const all = await together(commands)
  t.deepEqual(
    all.map(({ code }) => code),
    Array(10).fill(3)
  )
  const finishers = all.flatMap(pids)
  t.true(finishers.length >= 1 && finishers.length <= 10)
  t.log(`${finishers.length} finishers were started`)
  await over(finishers)
  // What the system has told by now is delivered in this turn of the loop.
  await new Promise((resolve) => setImmediate(resolve))
  t.is(written.length, 1, 'an artifact gets its name by one rename')
  t.is(entries(cache).length, 1)
  t.deepEqual(mentioning(cache), [])
  await warm(t, cache)
})

/** The lock files of a cache that somebody holds, as the system says. */
function locks(cache) {
  const held = fs.readFileSync('/proc/locks', 'utf8')
  const named = files(cache).filter((name) => /[0-9a-f]{64}\.lock$/.test(name))
  return named.filter((name) => held.includes(`:${fs.statSync(path.join(cache, name), { throwIfNoEntry: false })?.ino} `))
}

/** A finisher that has the lock of its module and is stopped there. */
async function atWork(t, cache) {
  const ended = await frozen(t, { modules: [{ file: LARGE }], end: 'exit' }, { cache })
  const [pid] = pids(ended)
  process.kill(pid, 'SIGCONT')
  await until(() => locks(cache).length === 1, 'the finisher has its lock')
  process.kill(pid, 'SIGSTOP')
  t.deepEqual(entries(cache), [])
  return { ended, pid }
}

test('while a process is at work on a module, further commands leave no other', async (t) => {
  const cache = folder(t)
  const { ended, pid } = await atWork(t, cache)
  t.is(inspect(pid).nice, 19, 'at the lowest priority')
  const next = await run({ modules: [{ file: LARGE }], end: 'exit' }, { cache, env: ON })
  t.deepEqual(story(next), ['baselineReady'])
  t.deepEqual(mentioning(cache), [pid])
  t.deepEqual(spools(cache), [])
  await finish(ended)
  await warm(t, cache, LARGE)
})

test('a process that is killed at its work leaves no lock, and the next command begins anew', async (t) => {
  const cache = folder(t)
  const { pid } = await atWork(t, cache)
  process.kill(pid, 'SIGKILL')
  await over([pid])
  // The kernel releases it with the last thread's files, which is after the process is seen to be over.
  await until(() => locks(cache).length === 0, 'its lock is free')
  t.deepEqual(entries(cache), [])
  const next = await frozen(t, { modules: [{ file: LARGE }], end: 'exit' }, { cache })
  t.is(pids(next).length, 1)
  await finish(next)
  await warm(t, cache, LARGE)
})

test('a process that is killed before its work is made good by the next', async (t) => {
  const cache = folder(t)
  const ended = await frozen(t, job(), { cache })
  process.kill(pids(ended)[0], 'SIGKILL')
  await over(pids(ended))
  t.is(spools(cache).length, 1)
  const next = await frozen(t, job(), { cache })
  t.is(pids(next).length, 1)
  await finish(next)
  await warm(t, cache)
})

// ── What it is given ────────────────────────────────────────────────────────────────────────────────────────────────

test('it inherits neither files nor settings that are not meant for it', async (t) => {
  const cache = folder(t)
  const aside = folder(t)
  const env = {
    ...ON,
    NODE_OPTIONS: `--require ${path.join(__dirname, '../register.js')}`,
    NODE_V8_COVERAGE: path.join(aside, 'coverage'),
    NODE_DEBUG: 'wasm-compile-cache',
    WASM_COMPILE_CACHE_TRACE: path.join(aside, 'trace.json'),
    TEST_OF_FINISHERS: 'kept',
  }
  // `run` has seen the end of the command's pipes, while the finisher is alive.
  const ended = await frozen(t, job(), { cache, env, cwd: aside })
  const [pid] = pids(ended)
  const trace = fs.readFileSync(env.WASM_COMPILE_CACHE_TRACE, 'utf8')
  const coverage = fs.readdirSync(env.NODE_V8_COVERAGE)
  const given = inspect(pid)
  for (const name of ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'NODE_DEBUG', 'WASM_COMPILE_CACHE_TRACE']) {
    t.false(name in given.env, name)
  }
  t.like(given.env, { WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', TEST_OF_FINISHERS: 'kept' })
  t.deepEqual(given.argv, [process.execPath, FINISH, named(ended, 'handedOff')[0].spool])
  t.is(given.cwd, '/')
  t.is(given.session, pid, 'no signal of the terminal reaches it')
  for (const name of ['0', '1', '2']) t.is(given.files[name], '/dev/null')
  t.deepEqual(
    Object.values(given.files).filter((name) => name.startsWith(aside)),
    []
  )
  await finish(ended)
  t.is(fs.readFileSync(env.WASM_COMPILE_CACHE_TRACE, 'utf8'), trace)
  t.deepEqual(fs.readdirSync(env.NODE_V8_COVERAGE), coverage)
  await warm(t, cache)
})

test('the channel to the parent of a forked command closes with the command', async (t) => {
  const cache = folder(t)
  const env = environment({ ...ON, WASM_COMPILE_CACHE: cache })
  const child = fork(path.join(__dirname, 'children/command.js'), [JSON.stringify(job({ freeze: true }))], {
    env,
    stdio: ['ignore', 'pipe', 'ignore', 'ipc', 'pipe'],
  })
  let stdout = ''
  child.stdout.on('data', (text) => (stdout += text))
  const events = ['disconnect', 'close'].map((name) => once(child, name))
  const further = once(child.stdio[4].resume(), 'end')
  await Promise.all([...events, further])
  const ended = JSON.parse(stdout)
  t.is(pids(ended).length, 1)
  t.deepEqual(mentioning(cache), pids(ended), 'it is alive')
  t.false('NODE_CHANNEL_FD' in inspect(pids(ended)[0]).env)
  await finish(ended)
  await warm(t, cache)
})

test('a command that empties its environment, and leaves a folder that is removed, is no exception', async (t) => {
  const made = folder(t)
  const cache = path.join(made, 'cache')
  const gone = path.join(made, 'gone')
  fs.mkdirSync(gone)
  const env = { WASM_COMPILE_CACHE: 'cache', TEST_OF_FINISHERS: 'kept' }
  const ended = await frozen(t, job({ naked: true, chdir: gone }), { cache, cwd: made, env })
  t.is(pids(ended).length, 1)
  const given = inspect(pids(ended)[0])
  t.like(given.env, { WASM_COMPILE_CACHE: cache, TEST_OF_FINISHERS: 'kept' })
  t.is(given.cwd, '/')
  await finish(ended)
  await warm(t, cache)
})

test('a command that empties its environment hands off into the default directory, too', async (t) => {
  const home = folder(t)
  const cache = path.join(home, 'xdg/wasm-compile-cache')
  const env = { WASM_COMPILE_CACHE: undefined, HOME: path.join(home, 'home'), XDG_CACHE_HOME: path.join(home, 'xdg') }
  await swept(t, { cache, env })
  const ended = await frozen(t, job({ naked: true }), { cache, env })
  t.is(pids(ended).length, 1)
  await finish(ended)
  t.is(entries(cache).length, 1)
  await warm(t, cache)
})

// ── Its end ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('it ends whatever it is given', async (t) => {
  const cache = await swept(t)
  const ended = await frozen(t, job(), { cache })
  const [{ spool, pid }] = named(ended, 'handedOff')
  const good = fs.readFileSync(spool)
  process.kill(pid, 'SIGKILL')
  await over([pid])
  const given = [
    ['nothing at all', () => fs.rmSync(spool)],
    ['an empty file', () => fs.writeFileSync(spool, '')],
    ['half a file', () => fs.writeFileSync(spool, good.subarray(0, good.length >> 1))],
    ['another bit in the module', () => fs.writeFileSync(spool, good.with(good.length - 1, good.at(-1) ^ 1))],
    ['another bit in the header', () => fs.writeFileSync(spool, good.with(10, good[10] ^ 1))],
  ]
  for (const [name, make] of given) {
    make()
    const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
    const child = spawn(process.execPath, [FINISH, spool], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text))
    const [, signal] = await once(child, 'close')
    t.deepEqual([signal, output], [null, ''], name)
    t.deepEqual([...litter(cache), ...entries(cache)], [], name)
  }
})

test('a module that takes too long ends it, and those behind it go to another', async (t) => {
  const made = folder(t)
  const [stuck, next, last] = ['stuck', 'next', 'last'].map((name) => path.join(made, `${name}.spool`))
  for (const spool of [stuck, next, last]) fs.writeFileSync(spool, '')
  const log = path.join(made, 'log')
  const preload = path.join(made, 'preload.js')
  // The limit of the module that is stuck is over as soon as the addon, which is another, has it.
  fs.writeFileSync(
    preload,
    `
    const { appendFileSync, readFileSync } = require('node:fs')
    const { isMainThread } = require('node:worker_threads')
    const original = setTimeout
    const whenStuck = (call, spools) =>
      readFileSync(${JSON.stringify(log)}, 'utf8').includes(spools[0]) ? call(spools) : original(whenStuck, 1, call, spools)
    globalThis.setTimeout = (call, time, spools) =>
      spools[0].includes('stuck') ? original(whenStuck, 1, call, spools) : original(call, time, spools)
    const forever = () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    const native = {
      locateCache: () => null,
      configure() {},
      remoteFlush: (done) => done(),
      finish(spool) {
        appendFileSync(${JSON.stringify(log)}, process.pid + ' ' + spool + '\\n')
        if (spool.includes('stuck')) forever()
      },
      cacheRecordCounts() { appendFileSync(${JSON.stringify(log)}, process.pid + ' counted\\n') },
    }
    for (const file of ${JSON.stringify([process.env.NAPI_RS_NATIVE_LIBRARY_PATH ?? addonPath(), require.resolve('../binding.js')])}) {
      if (isMainThread) require.cache[file] = { exports: native }
    }`
  )
  const env = environment({ NODE_OPTIONS: `--require ${preload}` })
  const child = spawn(process.execPath, [FINISH, next, stuck, last], { env, stdio: 'ignore' })
  t.deepEqual(await once(child, 'close'), [null, 'SIGKILL'])
  const lines = () =>
    fs
      .readFileSync(log, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' '))
  await until(() => lines().at(-1)[1] === 'counted', 'another process has done the rest')
  t.deepEqual(
    lines().map(([, what]) => what),
    [next, stuck, last, 'counted']
  )
  const [a, b, c, d] = lines().map(([pid]) => Number(pid))
  t.deepEqual([a, b, c === b, d], [child.pid, child.pid, false, c])
  t.false(fs.existsSync(stuck))
  t.true(fs.existsSync(last), 'the addon would have taken it')
})
