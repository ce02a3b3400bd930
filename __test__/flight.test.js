'use strict'
// Many processes and one module: one of them compiles it for all.
//
// That others wait is made certain by a process that has the module's lock and does nothing (`hold`); who waits for it is
// read out of /proc/locks.

const { execFileSync, spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const initial = require('ava')

const { assemble, chain } = require('./children/modules.js')
const newRandom = require('./children/random.js')
const { COLD, HOT, entries, environment, folder, litter, named, run, start, story, together } = require('./support/commands.js')
const { linux, locks, mappings, mentioning, over, switches, until } = require('./support/processes.js')
const { count } = require('./support/stress.js')
const { answer, padded } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const test = linux ? initial.serial : initial.serial.skip
initial('many processes are tested where they can be looked at', (t) => {
  if (!linux) t.log(`not on ${process.platform}: it takes /proc`)
  t.is(linux, fs.existsSync('/proc/locks'))
})

const MAPPED = path.join(__dirname, 'children/mapped.js')
const FINISH = path.join(__dirname, '../dist/finish.js')
const LARGE = require.resolve('sql.js/dist/sql-wasm.wasm')
const MANY = count(8, 50)
/** Of those, so many are not killed where others are. */
const SURVIVORS = 4
const LIST = `JSON.stringify(require(${JSON.stringify(path.join(__dirname, '../dist/engine.js'))}).load('process/native.js').native.cacheEntries())`
const CALLS = [['run', 20]]
const FOUND = ['baselineReady', 'moduleCacheHit', 'optimizedReady']

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-flight-'))
initial.after.always(() => remove(root))
// A quarter of a second for the optimizing tier.
const file = path.join(root, 'chain.wasm')
const second = path.join(root, 'answer.wasm')
let right
initial.before(async () => {
  const bytes = await assemble(chain(400))
  fs.writeFileSync(file, bytes)
  const { instance } = await WebAssembly.instantiate(bytes, { env: { tick: (x) => x + 1 } })
  right = [instance.exports.run(20)]
  fs.writeFileSync(second, padded(await answer(7), 128 * 1024))
})

const job = (more) => ({ modules: [{ file, calls: CALLS }], ...more })
const results = (ended) => ended.modules[0].results
const compiled = (ended) => named(ended, 'optimizedReady').filter(({ from }) => from === 'compiler').length
const compiles = (all) => all.reduce((sum, ended) => sum + compiled(ended), 0)

/** How often each story was told. */
function tally(all) {
  const counts = {}
  for (const ended of all) counts[story(ended).join(' ')] = (counts[story(ended).join(' ')] ?? 0) + 1
  return counts
}

/** The next process is hot, and nobody has left anything. */
async function warm(t, cache) {
  const hot = await run(job(), { cache })
  t.deepEqual(story(hot), HOT)
  t.deepEqual(results(hot), right)
  t.deepEqual(litter(cache), [])
}

/** A cache directory without artifacts, and the path of the lock file of `file`. */
async function empty(t, which = file) {
  const [aside, cache] = [folder(t), folder(t)]
  await run({ modules: [{ file: which }] }, { cache: aside })
  // The folders are made by whoever looks something up, who sweeps them, too.
  await run({ modules: [{ file: which, options: { cache: 'read-only' } }] }, { cache })
  const [entry] = entries(aside)
  return { cache, lock: path.join(cache, path.relative(aside, entry).replace(/\.cwasm$/, '.lock')) }
}

/** Takes a lock until it is killed. */
async function hold(t, lock) {
  const child = spawn('flock', ['--no-fork', lock, 'sh', '-c', 'echo; exec sleep 600'], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

async function kill(child) {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

// ── Once for all ────────────────────────────────────────────────────────────────────────────────────────────────────

test('of many processes that are cold at once, one compiles, and all are right', async (t) => {
  const cache = folder(t)
  const all = await together(Array.from({ length: MANY }, () => start(job({ ready: true }), { cache })))
  t.deepEqual(
    all.map(({ code }) => code),
    Array(MANY).fill(0)
  )
  for (const ended of all) t.deepEqual(results(ended), right)
  t.log(tally(all))
  t.is(compiles(all), 1)
  t.is(all.flatMap((ended) => named(ended, 'cachedModule')).length, 1)
  for (const ended of all) {
    t.true(
      [COLD, FOUND, HOT].some((known) => `${known}` === `${story(ended)}`),
      `${story(ended)}`
    )
  }
  t.is(entries(cache).length, 1)
  await warm(t, cache)
})

test('again, with a random one killed every 50 ms', async (t) => {
  const cache = folder(t)
  const seed = Number(process.env.SEED ?? Date.now() % 1e6)
  t.log(`SEED=${seed}`)
  const random = newRandom(seed)
  const commands = Array.from({ length: MANY }, () => start(job({ ready: true }), { cache }))
  const killed = new Set()
  const ended = commands.map(async (command) => {
    const told = await command.ended.catch((error) => error)
    if (killed.has(command)) return undefined
    if (told instanceof Error) throw told
    return told
  })
  await Promise.all(commands.map(({ ready }) => ready))
  for (const { child } of commands) child.stdin.end()
  const timer = setInterval(() => {
    const alive = commands.filter((command) => !killed.has(command) && command.child.exitCode === null)
    if (killed.size >= MANY - SURVIVORS || alive.length === 0) return
    const one = alive[random(alive.length)]
    killed.add(one)
    one.child.kill('SIGKILL')
  }, 50)
  t.teardown(() => clearInterval(timer))
  const all = (await Promise.all(ended)).filter((told) => told !== undefined)
  t.log(`${killed.size} were killed`, tally(all))
  t.is(all.length + killed.size, MANY)
  t.true(killed.size > 0)
  for (const one of all) {
    t.is(one.code, 0, one.stderr)
    t.deepEqual(results(one), right)
    t.is(one.modules[0].optimized, 'done')
  }
  t.true(compiles(all) <= 1, 'whoever else had begun was killed')
  t.is(entries(cache).length, 1)
  const hot = await run(job(), { cache })
  t.deepEqual([story(hot), results(hot)], [HOT, right])
  // Files of the killed go with the next sweep.
  for (const name of litter(cache)) t.deepEqual(locks(path.join(cache, name)).holders, [], name)
})

test('the flight of a killed process passes to one of those who wait for it', async (t) => {
  const { cache, lock } = await empty(t)
  const holder = await hold(t, lock)
  const commands = Array.from({ length: 8 }, () => start(job({ ready: true }), { cache }))
  const pids = commands.map(({ child }) => child.pid)
  const ended = together(commands)
  await until(() => locks(lock).waiting.length === 8, 'all wait')
  t.deepEqual(locks(lock).waiting.sort(), pids.sort())
  await kill(holder)
  const all = await ended
  t.deepEqual(tally(all), { [COLD.join(' ')]: 1, [FOUND.join(' ')]: 7 })
  t.is(compiles(all), 1)
  for (const one of all) t.deepEqual(results(one), right)
  await warm(t, cache)
})

test('a flight that ends without an artifact is followed by another one', async (t) => {
  const { cache, lock } = await empty(t)
  const holder = await hold(t, lock)
  const commands = Array.from({ length: 4 }, () => start(job({ ready: true }), { cache }))
  const ended = together(commands)
  await until(() => locks(lock).waiting.length === 4, 'all wait')
  fs.rmSync(lock)
  await kill(holder)
  const all = await ended
  t.is(compiles(all), 1)
  for (const one of all) t.deepEqual(results(one), right)
  await warm(t, cache)
})

// ── Waiting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('who waits does so in the kernel, and other modules do not wait behind it', async (t) => {
  const { cache, lock } = await empty(t)
  const holder = await hold(t, lock)
  const modules = [
    { file, calls: CALLS },
    { file: second, calls: [['answer']] },
  ]
  const { child, ended } = start({ modules }, { cache })
  await until(() => locks(lock).waiting.length === 1 && entries(cache).length === 1, 'the second module is stored')
  const before = switches(child.pid, 'wasm-flight')
  t.is(Object.keys(before).length, 1, 'a thread waits')
  // Meanwhile somebody else does a second's work.
  await run({ modules: [{ file: LARGE }] }, { cache })
  t.deepEqual(switches(child.pid, 'wasm-flight'), before, 'and does nothing else')
  t.is(child.exitCode, null)
  await kill(holder)
  const told = await ended
  t.deepEqual(
    told.modules.map((module) => module.results),
    [right, [7]]
  )
  t.deepEqual(
    named(told, 'optimizedReady').map(({ from, source: _, bytes }) => [from, bytes]),
    [
      ['compiler', fs.statSync(second).size],
      ['compiler', fs.statSync(file).size],
    ]
  )
  await warm(t, cache)
})

test('a process ends while it waits, and leaves the module to the one that has it', async (t) => {
  const { cache, lock } = await empty(t)
  const holder = await hold(t, lock)
  for (const end of ['exit', 'return']) {
    const told = await run(job({ end, flight: 'waiting' }), { cache, env: { WASM_COMPILE_CACHE_FINISH: undefined } })
    t.deepEqual(results(told), right)
    t.deepEqual(story(told), ['baselineReady'])
  }
  t.deepEqual(locks(lock), { holders: [holder.pid], waiting: [] })
  await kill(holder)
})

test('what is not to be stored is compiled at once', async (t) => {
  const { cache, lock } = await empty(t)
  const holder = await hold(t, lock)
  for (const options of [{ cache: 'read-only' }, { cache: false }, { minSize: 1 << 30 }]) {
    const told = await run({ modules: [{ file, options, calls: CALLS }] }, { cache })
    t.deepEqual(story(told), ['baselineReady', 'optimizedReady'], JSON.stringify(options))
    t.is(compiled(told), 1)
  }
  t.deepEqual(locks(lock), { holders: [holder.pid], waiting: [] })
  await kill(holder)
})

test('where the lock cannot be had, the module is compiled and stored without it', async (t) => {
  const { cache, lock } = await empty(t)
  const target = path.join(cache, 'target')
  const obstacles = {
    'a link': () => fs.symlinkSync(target, lock),
    'a folder': () => fs.mkdirSync(lock),
    'a pipe': () => execFileSync('mkfifo', [lock]),
  }
  for (const [name, put] of Object.entries(obstacles)) {
    put()
    const told = await run(job(), { cache })
    t.deepEqual(story(told), COLD, name)
    t.deepEqual(results(told), right, name)
    t.false(fs.existsSync(target), name)
    fs.rmSync(lock, { recursive: true })
    for (const entry of entries(cache)) fs.rmSync(entry)
  }
})

// ── The end of a process ────────────────────────────────────────────────────────────────────────────────────────────

test('a module that the ending process itself has in flight is handed off', async (t) => {
  const { cache, lock } = await empty(t, LARGE)
  const what = { modules: [{ file: LARGE, as: 'file' }], end: 'exit', flight: 'holders', freeze: true }
  const told = await run(what, { cache, env: { WASM_COMPILE_CACHE_FINISH: undefined } })
  const [{ pid, spool }] = named(told, 'handedOff')
  t.teardown(() => mentioning(cache).includes(pid) && process.kill(pid, 'SIGKILL'))
  t.is(path.basename(spool, '.spool'), path.basename(lock, '.lock'))
  process.kill(pid, 'SIGCONT')
  await over([pid])
  t.deepEqual(story(await run({ modules: [{ file: LARGE }] }, { cache })), HOT)
  const env = environment({ WASM_COMPILE_CACHE: cache })
  const listed = execFileSync(process.execPath, ['-p', LIST], { env, encoding: 'utf8' })
  t.deepEqual(
    JSON.parse(listed).map(({ source }) => source),
    [pathToFileURL(LARGE).href],
    'and keeps its name'
  )
  t.deepEqual(litter(cache), [])
})

test('a finisher waits for the end of the process that has left it the module', async (t) => {
  const { cache, lock } = await empty(t)
  const env = { WASM_COMPILE_CACHE_FINISH: undefined }
  const told = await run(job({ busy: true, end: 'exit', freeze: true }), { cache, env })
  const [{ pid, spool }] = named(told, 'handedOff')
  process.kill(pid, 'SIGKILL')
  await over([pid])
  const holder = await hold(t, lock)
  const finisher = spawn(process.execPath, [FINISH, spool], {
    env: environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' }),
    stdio: 'ignore',
  })
  const end = once(finisher, 'exit')
  await until(() => locks(lock).waiting.includes(finisher.pid), 'it waits')
  t.deepEqual(entries(cache), [])
  await kill(holder)
  t.deepEqual(await end, [0, null])
  await warm(t, cache)
})

// ── One copy in memory ──────────────────────────────────────────────────────────────────────────────────────────────

test('who has compiled an artifact, and who has waited for it, have it marked as mapped', async (t) => {
  const { cache } = await empty(t)
  const children = Array.from({ length: 3 }, () => {
    const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
    return spawn(process.execPath, [MAPPED, file, JSON.stringify(CALLS)], { env, stdio: ['pipe', 'ignore', 'inherit'] })
  })
  t.teardown(() => children.forEach((child) => child.kill('SIGKILL')))
  const pids = children.map(({ pid }) => pid)
  await until(() => pids.every((pid) => mappings(pid, '.cwasm').length > 0), 'all have mapped it')
  // Who has just looked at it is done with that.
  const [entry] = entries(cache)
  await until(() => locks(entry).holders.length <= pids.length, 'one lock a process')
  t.deepEqual(locks(entry).holders.sort(), pids.sort())
})

test("processes, and their worker threads, share an artifact's pages", async (t) => {
  const cache = folder(t)
  const [stored] = named(await run(job(), { cache }), 'cachedModule')
  const children = Array.from({ length: 4 }, () => {
    const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
    return spawn(process.execPath, [MAPPED, file, JSON.stringify(CALLS)], { env, stdio: ['pipe', 'pipe', 'inherit'] })
  })
  t.teardown(() => children.forEach((child) => child.kill('SIGKILL')))
  for (const child of children) {
    const [text] = await once(child.stdout, 'data')
    t.deepEqual(JSON.parse(text), Array(3).fill({ tier: 'optimized', results: right }))
  }
  const all = children.map(({ pid }) => mappings(pid, path.basename(stored.path)))
  const sum = (list, field) => list.reduce((total, mapping) => total + mapping[field], 0)
  for (const one of all) {
    t.is(new Set(one.map(({ offset }) => offset)).size, one.length, 'three threads have one mapping')
    t.is(sum(one, 'Private_Dirty') + sum(one, 'Anonymous'), 0, 'nothing of it is a copy')
  }
  const [rss, pss] = [sum(all[0], 'Rss'), sum(all.flat(), 'Pss')]
  t.log(`${stored.artifactBytes >> 10} kB on disk, in memory: ${rss} kB in one process, ${pss} kB in all four`)
  t.true(rss > stored.artifactBytes / 1024 / 2)
  t.true(pss < rss * 1.25)
  for (const child of children) child.stdin.end()
  await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')))
})
