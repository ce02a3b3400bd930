'use strict'

const { execFile } = require('node:child_process')
const diagnostics = require('node:diagnostics_channel')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const { promisify } = require('node:util')

const test = require('ava')

const { compileStreaming } = require('../index.js')
const { NAMES } = require('../dist/engine.js').load('events/events.js')
const { WASM, answer, outcome, response, serve, webStream } = require('./fixtures/streaming.js')
const { remove } = require('./support/remove.js')

const run = promisify(execFile)
const root = path.dirname(__dirname)

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-events-'))
test.after.always(() => remove(folder))
let files = 0
const temporary = (name = 'file') => path.join(folder, `${files++}-${name}`)

/** Collects a channel's messages for the length of a test. */
function listen(t, name) {
  const channel = `wasm-compile-cache:${name}`
  const seen = []
  const subscriber = (event) => seen.push(event)
  diagnostics.subscribe(channel, subscriber)
  t.teardown(() => diagnostics.unsubscribe(channel, subscriber))
  return seen
}

/** Runs a script in a process of its own, with the package's folder as `root`. */
function script(code, env = {}) {
  const file = temporary('script.js')
  fs.writeFileSync(file, `'use strict'\nconst root = ${JSON.stringify(root)}\n${code}`)
  return run(process.execPath, [file], {
    env: { ...process.env, NODE_DEBUG: '', WASM_COMPILE_CACHE: path.join(folder, 'cache'), ...env },
  })
}

const module64 = Buffer.from(answer).toString('base64')
const compileOnce = `
const { compileStreaming } = require(root)
const bytes = Buffer.from('${module64}', 'base64')
const headers = { 'content-type': 'application/wasm' }
compileStreaming(new Response(bytes, { headers }))
`

test('the names are those of V8, and four of our own', (t) => {
  for (const name of [
    'streamFromResponseCallback',
    'compiledModule',
    'cachedModule',
    'moduleCacheHit',
    'moduleCacheInvalid',
    'cacheWriteFailed',
    'baselineReady',
    'optimizedReady',
    'handedOff',
  ]) {
    t.true(NAMES.includes(name), name)
  }
})

test.serial('a stream is reported with its size, its address and its time', async (t) => {
  const url = await serve(t, (request, reply) => reply.writeHead(200, WASM).end(answer))
  const seen = listen(t, 'streamFromResponseCallback')
  const before = Date.now()
  await compileStreaming(fetch(url))
  t.is(seen.length, 1)
  const [event] = seen
  t.is(event.name, 'streamFromResponseCallback')
  t.is(event.source, url)
  t.is(event.bytes, answer.length)
  t.true(event.chunks >= 1)
  t.true(event.dur >= 0)
  t.true(event.ts >= before - 1 && event.ts + event.dur <= Date.now() + 1, 'milliseconds since the epoch')
})

test.serial('a stream that fails is reported with what had come', async (t) => {
  const seen = listen(t, 'streamFromResponseCallback')
  const { stream } = webStream([answer.slice(0, 50), 'text'])
  await outcome(compileStreaming(stream))
  t.is(seen.length, 1)
  t.is(seen[0].bytes, 50)
})

test.serial('a response that is refused is no stream', async (t) => {
  const seen = listen(t, 'streamFromResponseCallback')
  await outcome(compileStreaming(response(answer, { 'content-type': 'text/html' })))
  t.is(seen.length, 0)
})

test.serial('a compiled module is reported by the time the promise resolves', async (t) => {
  const file = temporary('module.wasm')
  fs.writeFileSync(file, answer)
  const seen = listen(t, 'compiledModule')
  await compileStreaming(pathToFileURL(file))
  t.true(seen.length >= 1)
  t.is(seen[0].bytes, answer.length)
  t.true(seen[0].dur >= 0)
})

test('a subscriber that throws does not fail the compile', async (t) => {
  const { stdout } = await script(`
    require('node:diagnostics_channel').subscribe('wasm-compile-cache:streamFromResponseCallback', () => {
      throw new Error('the subscriber')
    })
    process.on('uncaughtException', (error) => console.log(error.message))
    ${compileOnce}.then(() => console.log('compiled'))
  `)
  t.deepEqual(stdout.trim().split('\n').sort(), ['compiled', 'the subscriber'])
})

// The Chrome trace

function checkTrace(t, file) {
  const trace = JSON.parse(fs.readFileSync(file, 'utf8'))
  t.true(Array.isArray(trace.traceEvents))
  for (const event of trace.traceEvents) {
    t.true(['X', 'i'].includes(event.ph))
    t.is(event.cat, 'v8.wasm')
    t.is(typeof event.name, 'string')
    for (const field of ['ts', 'pid', 'tid']) t.true(Number.isSafeInteger(event[field]), field)
    if (event.ph === 'X') t.true(event.dur >= 0)
  }
  return trace.traceEvents
}

test('WASM_COMPILE_CACHE_TRACE writes a Chrome trace at exit', async (t) => {
  const file = temporary('trace.json')
  const before = Date.now()
  await script(compileOnce, { WASM_COMPILE_CACHE_TRACE: file })
  const events = checkTrace(t, file)
  const stream = events.find(({ name }) => name === 'streamFromResponseCallback')
  t.is(stream.args.bytes, answer.length)
  t.true(stream.ts >= before * 1000 && stream.ts <= Date.now() * 1000, 'microseconds')
  t.true(events.some(({ name }) => name === 'compiledModule'))
})

test('a trace is written even if the program ends by process.exit() or an exception', async (t) => {
  const [first, second] = [temporary('trace.json'), temporary('trace.json')]
  await script(`${compileOnce}.then(() => process.exit(0))`, { WASM_COMPILE_CACHE_TRACE: first })
  t.true(checkTrace(t, first).length > 0)
  const failing = `${compileOnce}.then(() => { throw new Error('x') })`
  await t.throwsAsync(script(failing, { WASM_COMPILE_CACHE_TRACE: second }))
  t.true(checkTrace(t, second).length > 0)
})

test("a trace's name may hold the process's id", async (t) => {
  const file = temporary('trace-${pid}.json')
  const { stdout } = await script(`console.log(process.pid);${compileOnce}`, { WASM_COMPILE_CACHE_TRACE: file })
  t.true(checkTrace(t, file.replace('${pid}', stdout.trim())).length > 0)
})

test("worker threads' events are in the main thread's trace, a terminated worker's too", async (t) => {
  const file = temporary('trace.json')
  const { stderr } = await script(
    `
    const { isMainThread, parentPort, threadId, Worker } = require('node:worker_threads')
    ${compileOnce}.then(() => {
      if (!isMainThread) return parentPort.on('message', () => {}).postMessage(threadId)
      const worker = new Worker(__filename)
      worker.on('message', () => worker.terminate())
    })
  `,
    { WASM_COMPILE_CACHE_TRACE: file }
  )
  t.is(stderr, '')
  const streams = checkTrace(t, file).filter(({ name }) => name === 'streamFromResponseCallback')
  t.deepEqual(streams.map(({ tid }) => tid).sort(), [0, 1])
})

test("a worker's trace is not lost where the main thread has not loaded the package", async (t) => {
  const file = temporary('trace.json')
  await script(
    `
    const { isMainThread, Worker } = require('node:worker_threads')
    if (isMainThread) new Worker(__filename)
    else {
${compileOnce}
}
  `,
    { WASM_COMPILE_CACHE_TRACE: file }
  )
  t.true(checkTrace(t, `${file}.1`).length > 0)
})

test('a trace that cannot be written is said on stderr, and changes nothing else', async (t) => {
  const file = path.join(folder, 'no', 'such', 'folder.json')
  const { stderr, stdout } = await script(`${compileOnce}.then(() => console.log('done'))`, {
    WASM_COMPILE_CACHE_TRACE: file,
  })
  t.is(stdout, 'done\n')
  t.regex(stderr, /^wasm-compile-cache: the trace was not written: ENOENT/)
})

/** The lines of NODE_DEBUG for a module that is compiled in both tiers: what was done, without how long it took. */
async function story(cache) {
  const { stderr } = await script(
    `
    const { compileStreaming, Module } = require(root)
    const bytes = Buffer.from('${module64}', 'base64')
    compileStreaming(new Response(bytes, { headers: { 'content-type': 'application/wasm' } }), { minSize: 0 })
      .then((module) => Module.optimized(module))
  `,
    { NODE_DEBUG: 'wasm-compile-cache', WASM_COMPILE_CACHE: cache }
  )
  const lines = stderr.trimEnd().split('\n')
  return lines.map((line) =>
    line
      .replace(/^WASM-COMPILE-CACHE \d+: /, '')
      .replace(/[\d.]+ (ms|s)\b/, 'N ms')
      .replace(/[\d.]+ kB/, 'N kB')
  )
}

test('NODE_DEBUG=wasm-compile-cache prints what was looked for, what was found or why not, and what came of it', async (t) => {
  const cache = fs.mkdtempSync(path.join(folder, 'story-'))
  const about = /^(\w+) bytes \((?:\d+ bytes)?(?:, )?(?:[0-9a-f]{12})?\): (.*)$/
  const told = (lines) => lines.map((line) => about.exec(line)?.slice(1) ?? line)
  // When the promise resolves, the optimizing tier may be done already.
  const ready = ([name]) => name === 'compiledModule'
  const cold = told(await story(cache))
  t.deepEqual(cold.filter(ready), [['compiledModule', 'can be run, after N ms']])
  const [artifact] = fs
    .readdirSync(cache, { recursive: true })
    .filter((name) => name.endsWith('.cwasm'))
    .map((name) => path.join(cache, name))
  t.deepEqual(
    cold.filter((line) => !ready(line)),
    [
      ['streamFromResponseCallback', `all ${answer.length} bytes have arrived, 1 chunk in N ms`],
      ['moduleCacheMiss', 'not in the cache (absent), after N ms; it is compiled'],
      ['baselineReady', 'compiled by the baseline tier in N ms'],
      ['cachedModule', `stored ${artifact} (N kB) in N ms`],
      ['optimizedReady', 'optimised code has taken over, after N ms'],
    ]
  )
  t.deepEqual(told(await story(cache)).slice(1), [
    ['moduleCacheHit', `found ${artifact} (N kB), verified before, and mapped it in N ms; nothing is compiled`],
    ['compiledModule', 'can be run, after N ms'],
  ])
  const bytes = fs.readFileSync(artifact)
  bytes[100] ^= 1
  fs.writeFileSync(artifact, bytes)
  t.deepEqual(told(await story(cache))[1], [
    'moduleCacheInvalid',
    'the artifact cannot be used (seal-mismatch), after N ms; it is compiled anew',
  ])
})

test('NODE_DEBUG=wasm-compile-cache tells of what has no sentence of its own, too', (t) => {
  const { tell } = require('../dist/engine.js').load('events/story.js')
  t.is(
    tell({ name: 'somethingElse', ts: 1, dur: 2, source: 'a.wasm', status: 304, reason: 'text' }),
    'somethingElse a.wasm: status=304 reason=text 2.00 ms'
  )
  for (const name of NAMES) {
    const line = tell({
      name,
      ts: 1,
      dur: 2,
      source: 's',
      bytes: 1,
      chunks: 1,
      craneliftBytes: 0,
      artifactBytes: 1,
      transferBytes: 1,
      verified: 'now',
      path: 'p',
      reason: 'r',
      feature: 'f',
      pid: 1,
      spool: 's',
      outcome: 'fresh',
      status: 200,
      what: 'w',
      message: 'm',
    })
    t.false(line.includes('='), line)
    t.false(line.includes('undefined'), line)
  }
})

// The end of the process, with a native side that has something to hand off

const fakeNative = (handOff) => `
const native = {
  onEvents() {}, drainEvents: () => [], cacheRecordCounts() {}, handOff() { ${handOff} }, mainThreadHandsOff() {}, handOffAtExit() {},
  cacheEnvironment: () => [], resourcesKept() {}, remoteUnsent: () => [],
}
require(root + '/dist/engine.js').load('events/events.js').start(native)
require(root + '/dist/engine.js').load('process/exit.js').install(native)
require(root + '/dist/engine.js').load('process/exit.js').install(native)
require('node:diagnostics_channel').subscribe('wasm-compile-cache:handedOff', ({ pid, spool }) => {
  console.log('handed off', spool, typeof pid)
})
`

test('unfinished modules are handed off at exit, each list to a process', async (t) => {
  const spools = [temporary('a.spool'), temporary('b.spool'), temporary('c.spool')]
  const trace = temporary('trace.json')
  const { stdout, stderr } = await script(fakeNative(`return ${JSON.stringify([spools.slice(0, 2), spools.slice(2)])}`), {
    WASM_COMPILE_CACHE_TRACE: trace,
    WASM_COMPILE_CACHE_FINISH: '',
    WASM_DISABLE_COMPILE_CACHE: '1',
  })
  t.is(stderr, '')
  t.deepEqual(
    stdout.trim().split('\n'),
    spools.map((spool) => `handed off ${spool} number`)
  )
  const pids = checkTrace(t, trace)
    .filter(({ name }) => name === 'handedOff')
    .map(({ args }) => args.pid)
  t.is(pids.length, 3)
  t.is(pids[0], pids[1])
  t.not(pids[1], pids[2])
})

for (const [how, change] of [
  ['says so', `Object.defineProperty(process, 'execPath', { value: '/no/such/program' })`],
  ['throws', `require('node:child_process').spawn = () => { throw new Error('no memory') }`],
]) {
  test(`a hand-off to a process that cannot be started leaves nothing, and the counts are kept: it ${how}`, async (t) => {
    const spool = temporary('spool')
    fs.writeFileSync(spool, '')
    const { stdout, stderr } = await script(
      `${fakeNative(`return [[${JSON.stringify(spool)}], ['/another']]`)}
      native.cacheRecordCounts = () => console.log('counted')
      ${change}`,
      { WASM_COMPILE_CACHE_FINISH: '', WASM_DISABLE_COMPILE_CACHE: '1' }
    )
    t.is(stdout, 'counted\n')
    t.is(stderr, '')
    t.false(fs.existsSync(spool))
  })
}

test('WASM_COMPILE_CACHE_FINISH=0 hands nothing off', async (t) => {
  const { stdout } = await script(fakeNative("console.log('asked'); return ['/spool']"), {
    WASM_COMPILE_CACHE_FINISH: '0',
  })
  t.is(stdout, '')
})

test('a worker thread hands nothing off', async (t) => {
  const { stdout } = await script(
    `
    const { isMainThread, Worker } = require('node:worker_threads')
    if (isMainThread) new Worker(__filename)
    else { ${fakeNative("console.log('asked'); return ['/spool']")} }
  `,
    { WASM_COMPILE_CACHE_FINISH: '', WASM_DISABLE_COMPILE_CACHE: '1' }
  )
  t.is(stdout, '')
})

test("a hand-off that fails leaves the program's end as it was", async (t) => {
  const { stdout, stderr } = await script(
    `${fakeNative("throw new Error('disk full')")}\nprocess.on('exit', (code) => console.log('exit', code))`,
    { WASM_COMPILE_CACHE_FINISH: '', WASM_DISABLE_COMPILE_CACHE: '1' }
  )
  t.is(stdout, 'exit 0\n')
  t.is(stderr, '')
})
