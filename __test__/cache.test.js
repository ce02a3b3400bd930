'use strict'
// The cache as a program meets it: what is stored when, who finds it, and what an artifact gives back.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const {
  COLD,
  HOT,
  UNCACHED,
  entries,
  environment,
  files,
  folder,
  litter,
  named,
  run,
  start,
  story,
  together,
} = require('./support/commands.js')
const { answer, custom, machine, padded } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const THRESHOLD = 128 * 1024
const CALLS = [
  ['run', 9],
  ['run', -1],
  ['run', 0],
]
const LINUX = process.platform === 'linux'
const MAPPABLE = process.platform !== 'darwin'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-modules-'))
test.after.always(() => remove(root))

function write(name, bytes) {
  const file = path.join(root, name)
  fs.writeFileSync(file, bytes)
  return file
}

let whole // the machine, at the threshold
let tiny // the machine as it is
let large // 4 MB: more than anything else a command reads
let expected
test.before(async () => {
  const bytes = await machine()
  tiny = write('tiny.wasm', bytes)
  whole = write('module.wasm', padded(bytes, THRESHOLD))
  large = write('large.wasm', padded(bytes, 4 << 20))
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { tick: (x) => x + 1 } })
  expected = CALLS.map(([name, ...parameters]) => exports[name](...parameters))
})

const one = (file, options, more) => ({ modules: [{ file, options, calls: CALLS, ...more }] })

/** Runs a command that compiles one module; its results must be right whatever the cache does. */
async function compile(t, cache, file, options, more = {}) {
  const { as, ...settings } = more
  const ended = await run(one(file, options, { as }), { cache, ...settings })
  t.deepEqual(ended.modules[0].results, expected)
  return ended
}

// ── Storing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('a cold run stores one artifact, and only when the optimizing tier is done', async (t) => {
  const cache = folder(t)
  const cold = await run({ ...one(whole), busy: true }, { cache })
  const [told] = cold.modules
  t.like(told, { results: expected, tier: 'baseline', stored: 0, optimized: 'done' })
  t.is(entries(cache).length, 1)
  t.deepEqual(litter(cache), [])
  const [{ hash }] = named(cold, 'cachedModule')
  t.deepEqual(story({ events: cold.events.filter((event) => event.hash === hash) }), COLD)
  const [event] = named(cold, 'cachedModule')
  t.is(event.path, entries(cache)[0])
  t.is(event.bytes, THRESHOLD)
  t.true(event.artifactBytes > 0 && event.artifactBytes <= fs.statSync(event.path).size)
})

test.serial('without the optimizing tier nothing is stored', async (t) => {
  const cache = folder(t)
  // The optimizing tier takes one module after the other: when it is done with the second, it was with the first.
  const modules = [
    { file: whole, options: { optimize: false }, calls: CALLS },
    { file: tiny, options: { minSize: 0 } },
  ]
  const cold = await run({ modules }, { cache })
  t.deepEqual(cold.modules[0].results, expected)
  t.is(cold.modules[1].optimized, 'done')
  t.deepEqual(story(cold), ['baselineReady', ...COLD])
  t.is(entries(cache).length, 1)
})

test.serial('without the optimizing tier Module.optimized() rejects', async (t) => {
  const modules = [{ file: whole, options: { optimize: false } }, { file: tiny }]
  const cold = await run({ modules }, { cache: folder(t) })
  t.deepEqual(
    cold.modules.map(({ optimized }) => optimized),
    ['rejected', 'done']
  )
})

test.serial('nobody else can read or write what is in the cache, whatever the umask', async (t) => {
  const cache = path.join(folder(t), 'not', 'there', 'yet')
  await run({ ...one(whole), umask: 0 }, { cache })
  t.is(entries(cache).length, 1)
  for (const name of ['..', '.', ...files(cache)]) {
    const status = fs.statSync(path.join(cache, name))
    t.is(status.mode & 0o7777, status.isDirectory() ? 0o700 : 0o600, name)
  }
})

test.serial('modules below 128 kB are not stored unless asked, and the threshold is an option', async (t) => {
  const cache = folder(t)
  const below = write('below.wasm', padded(fs.readFileSync(tiny), THRESHOLD - 1))
  t.deepEqual(story(await compile(t, cache, below)), UNCACHED)
  t.deepEqual(story(await compile(t, cache, whole, { minSize: THRESHOLD + 1 })), UNCACHED)
  t.deepEqual(story(await compile(t, cache, whole, { minSize: Number.MAX_VALUE })), UNCACHED)
  t.is(entries(cache).length, 0)
  t.deepEqual(story(await compile(t, cache, below, { minSize: THRESHOLD - 1 })), COLD)
  t.deepEqual(story(await compile(t, cache, tiny, { minSize: 0 })), COLD)
  t.deepEqual(story(await compile(t, cache, whole)), COLD)
  t.is(entries(cache).length, 3)
})

// ── Finding ─────────────────────────────────────────────────────────────────────────────────────────────────────────

for (const as of ['bytes', 'sync', 'response', 'stream', 'file']) {
  test.serial(`a second process finds the artifact: ${as}`, async (t) => {
    const cache = folder(t)
    t.deepEqual(story(await compile(t, cache, whole, undefined, { as })), COLD)
    const hot = await compile(t, cache, whole, undefined, { as })
    t.deepEqual(story(hot), HOT)
    t.is(hot.modules[0].tier, 'optimized')
    const [event] = named(hot, 'moduleCacheHit')
    t.is(event.path, entries(cache)[0])
    t.is(event.bytes, THRESHOLD)
    t.is(event.pages, MAPPABLE ? 'shared' : 'private')
    // What the source was does not matter to the next one.
    t.deepEqual(story(await compile(t, cache, whole, undefined, { as: as === 'bytes' ? 'stream' : 'bytes' })), HOT)
    t.is(entries(cache).length, 1)
  })
}

test.serial('partitions are separate', async (t) => {
  const cache = folder(t)
  t.deepEqual(story(await compile(t, cache, whole)), COLD)
  t.deepEqual(story(await compile(t, cache, whole, { partition: 'a' })), COLD)
  t.deepEqual(story(await compile(t, cache, whole, { partition: 'b', cache: 'read-only' })), UNCACHED)
  t.deepEqual(story(await compile(t, cache, whole, { partition: 'a' }, { as: 'file' })), HOT)
  t.deepEqual(story(await compile(t, cache, whole, { partition: '' }, { as: 'stream' })), HOT)
  t.is(entries(cache).length, 2)
})

test.serial('a miss tells why', async (t) => {
  const cache = folder(t)
  const reasons = async (options) => named(await compile(t, cache, whole, options), 'moduleCacheMiss').map(({ reason }) => reason)
  t.deepEqual(await reasons({ cache: false }), [])
  t.deepEqual(await reasons({ minSize: THRESHOLD + 1 }), [])
  t.deepEqual(await reasons({}), ['absent'])
  t.deepEqual(await reasons({ partition: 'a' }), ['other-partition'])
  // What another version, or the same one for another machine, has left.
  const [of] = entries(cache)
  const older = path.join(cache, 'v2-0.0.1-engine-1')
  fs.mkdirSync(older)
  for (const entry of entries(cache)) fs.renameSync(entry, path.join(older, path.basename(entry)))
  t.true(fs.existsSync(path.join(older, path.basename(of))))
  t.deepEqual(await reasons({}), ['other-engine'])
  t.deepEqual(await reasons({}), [])
})

test.serial('cache: false neither looks up nor stores, and makes no directory', async (t) => {
  const cache = path.join(folder(t), 'cache')
  for (const as of ['bytes', 'stream', 'file']) {
    t.deepEqual(story(await compile(t, cache, whole, { cache: false }, { as })), UNCACHED)
  }
  t.false(fs.existsSync(cache))
  t.deepEqual(story(await compile(t, cache, whole)), COLD)
  t.deepEqual(story(await compile(t, cache, whole, { cache: false })), UNCACHED)
})

test.serial("cache: 'read-only' looks up and never stores", async (t) => {
  const cache = folder(t)
  t.deepEqual(story(await compile(t, cache, whole, { cache: 'read-only' }, { as: 'file' })), UNCACHED)
  t.deepEqual(entries(cache), [])
  t.deepEqual(
    files(cache).filter((name) => /stat\/./.test(name)),
    [],
    'nor what it knows of the file'
  )
  t.deepEqual(story(await compile(t, cache, whole)), COLD)
  t.deepEqual(story(await compile(t, cache, whole, { cache: 'read-only' })), HOT)
})

// ── The file: source ────────────────────────────────────────────────────────────────────────────────────────────────

// A file that had changed in the two seconds before it was read is not recorded (its next change could have the same
// times), and a change time cannot be set: the tests wait until their files are old enough.
async function settled(file) {
  while (Date.now() - fs.statSync(file).ctimeMs < 2100) await new Promise((resolve) => setTimeout(resolve, 50))
}

/** Whether the compile read as many bytes as the file has. */
const wasRead = (ended, file) => ended.modules[0].read >= fs.statSync(file).size

function onLinux(t) {
  if (!LINUX) t.log(`not on ${process.platform}: only Linux tells how much a process has read (/proc/self/io)`)
  return LINUX
}

test.serial('a file: source that has not changed is neither read nor hashed', async (t) => {
  const cache = folder(t)
  await settled(large)
  const cold = await compile(t, cache, large, undefined, { as: 'file' })
  const hot = await compile(t, cache, large, undefined, { as: 'file' })
  const link = path.join(root, 'link.wasm')
  fs.symlinkSync(large, link)
  const linked = await compile(t, cache, link, undefined, { as: 'file' })
  const bytes = await compile(t, cache, large)
  t.deepEqual([cold, hot, linked, bytes].map(story), [COLD, HOT, HOT, HOT])
  t.is(named(hot, 'moduleCacheHit')[0].hash, named(cold, 'cachedModule')[0].hash)
  if (onLinux(t)) {
    t.deepEqual(
      [cold, hot, linked, bytes].map((ended) => wasRead(ended, large)),
      [true, false, false, true]
    )
  }
})

test.serial('a file: source with other contents is noticed, though its size and its modification time are the same', async (t) => {
  const cache = folder(t)
  const file = write('changing.wasm', await answer(1234))
  const year = 31536000 // a whole number of seconds, so that it can be set again to the nanosecond
  fs.utimesSync(file, year, year)
  const { size, ino } = fs.statSync(file)
  const job = { modules: [{ file, as: 'file', options: { minSize: 0 }, calls: [['answer']] }] }
  await settled(file)
  const before = [await run(job, { cache }), await run(job, { cache })]
  t.deepEqual(before.map(story), [COLD, HOT])
  t.is(files(cache).filter((name) => /stat\/./.test(name)).length, 1, 'it was recorded')
  fs.writeFileSync(file, await answer(4321))
  fs.utimesSync(file, year, year)
  const status = fs.statSync(file)
  t.deepEqual([status.size, status.ino, status.mtimeMs], [size, ino, year * 1000])
  const after = [await run(job, { cache }), await run(job, { cache })]
  t.deepEqual(after.map(story), [COLD, HOT])
  t.deepEqual(
    [...before, ...after].map(({ modules }) => modules[0].results),
    [[1234], [1234], [4321], [4321]]
  )
})

test.serial('a file: source that changed too recently to be sure is read again, and found by its bytes', async (t) => {
  const cache = folder(t)
  const file = write('recent.wasm', fs.readFileSync(large))
  const tomorrow = new Date(Date.now() + 24 * 60 * 60 * 1000)
  fs.utimesSync(file, tomorrow, tomorrow)
  const cold = await compile(t, cache, file, undefined, { as: 'file' })
  const hot = await compile(t, cache, file, undefined, { as: 'file' })
  t.deepEqual([cold, hot].map(story), [COLD, HOT])
  if (onLinux(t)) t.true(wasRead(hot, file))
})

test.serial('a file: source that is known, but whose artifact is gone, is compiled and stored again', async (t) => {
  const cache = folder(t)
  await settled(whole)
  const runs = []
  for (let round = 0; round < 3; round++) {
    runs.push(story(await compile(t, cache, whole, undefined, { as: 'file' })))
    if (round === 0) fs.rmSync(entries(cache)[0])
  }
  t.deepEqual(runs, [COLD, COLD, HOT])
})

// ── What an artifact gives back ─────────────────────────────────────────────────────────────────────────────────────

test.serial('a module out of the cache lists the same imports, exports and custom sections', async (t) => {
  const cache = folder(t)
  const twice = Buffer.concat([fs.readFileSync(tiny), custom('note', Buffer.from('first')), custom('note', Buffer.from('second'))])
  const modules = [
    require.resolve('tree-sitter-javascript/tree-sitter-javascript.wasm'),
    require.resolve('web-tree-sitter/web-tree-sitter.wasm'),
    require.resolve('sql.js/dist/sql-wasm.wasm'),
    write('twice.wasm', twice),
  ].map((file) => ({
    file,
    options: { minSize: 0 },
    sections: ['dylink.0', 'name', 'producers', 'target_features', 'note', 'none'],
  }))
  const [cold, hot] = [await run({ modules }, { cache }), await run({ modules }, { cache })]
  t.is(named(hot, 'moduleCacheHit').length, modules.length)
  t.deepEqual(
    hot.modules.map(({ listing }) => listing),
    cold.modules.map(({ listing }) => listing)
  )
  for (const [index, { file, sections }] of modules.entries()) {
    const builtin = new WebAssembly.Module(fs.readFileSync(file))
    const names = (list) => list.map(({ module, name, kind }) => `${module} ${name} ${kind}`)
    const { imports, exports, contents } = hot.modules[index].listing
    t.deepEqual(names(imports), names(WebAssembly.Module.imports(builtin)))
    t.deepEqual(names(exports), names(WebAssembly.Module.exports(builtin)))
    const hex = (name) => WebAssembly.Module.customSections(builtin, name).map((one) => Buffer.from(one).toString('hex'))
    t.deepEqual(contents, sections.map(hex))
  }
  t.is(hot.modules[3].listing.contents[4].length, 2)
})

test.serial('memory, data, start function, tables and globals of a module out of the cache work', async (t) => {
  const cache = folder(t)
  await compile(t, cache, tiny, { minSize: 0 })
  const modules = Array.from({ length: 3 }, () => ({ file: tiny, options: { minSize: 0 }, calls: CALLS }))
  const hot = await run({ modules }, { cache })
  t.deepEqual(story(hot), HOT, 'looked up once')
  t.deepEqual(
    hot.modules.map(({ results }) => results),
    [expected, expected, expected]
  )
})

// ── Sharing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('the same bytes compiled twice at once in one thread share one module', async (t) => {
  const cache = folder(t)
  const ask = (as, options) => ({ file: whole, as, options, calls: CALLS })
  const all = [ask('bytes'), ask('stream'), ask('file'), ask('bytes', { partition: 'another' })]
  const shared = await run({ modules: all.slice(0, 3), at: 'once' }, { cache })
  t.deepEqual(story(shared), COLD)
  t.is(named(shared, 'compiledModule').length, 3)
  t.deepEqual(
    shared.modules.map(({ results }) => results),
    [expected, expected, expected]
  )
  const apart = await run({ modules: all, at: 'once' }, { cache: folder(t) })
  t.is(named(apart, 'baselineReady').length, 2, 'partitions do not share')
})

test.serial('the same bytes compiled at once on two worker threads share one module', async (t) => {
  const cache = folder(t)
  const program = path.join(__dirname, 'children/share.js')
  const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
  const { stdout } = await promisify(execFile)(process.execPath, [program, whole, JSON.stringify(CALLS)], { env })
  const workers = JSON.parse(stdout)
  t.is(workers.length, 2)
  for (const { results, tier } of workers) t.deepEqual([results, tier], [expected, 'optimized'])
  const events = workers.flatMap((worker) => worker.events)
  const count = (name) => new Set(events.filter((event) => event.name === name).map(({ ts }) => ts)).size
  t.is(events.filter(({ name }) => name === 'compiledModule').length, 2)
  t.deepEqual(['baselineReady', 'cachedModule', 'optimizedReady'].map(count), [1, 1, 1])
  for (const worker of workers) t.is(named(worker, 'optimizedReady').length, 1, 'both hear of the swap')
  t.is(entries(cache).length, 1)
})

test.serial('two processes that are cold at once are both right, and one valid artifact is left', async (t) => {
  const cache = folder(t)
  const both = await together([0, 1].map(() => start({ ...one(whole), ready: true }, { cache })))
  for (const { code, modules } of both) t.deepEqual([code, modules[0].results], [0, expected])
  t.is(entries(cache).length, 1)
  t.deepEqual(litter(cache), [])
  t.deepEqual(story(await compile(t, cache, whole)), HOT)
})

test.serial('WASM_COMPILE_CACHE_ONLY=1: what the cache could hold comes from there, or is an error', async (t) => {
  const cache = folder(t)
  const only = { cache, env: { WASM_COMPILE_CACHE_ONLY: '1' } }
  for (const as of ['bytes', 'sync', 'response', 'stream', 'file']) {
    const refused = await run({ modules: [{ file: whole, as, catches: true }] }, only)
    t.is(refused.modules[0].error?.code, 'ERR_WASM_NOT_CACHED', as)
    t.true(refused.modules[0].error.message.includes('WASM_COMPILE_CACHE_ONLY'))
  }
  t.deepEqual(story(await compile(t, cache, whole)), COLD)
  for (const as of ['bytes', 'sync', 'response', 'stream', 'file']) {
    const hot = await run({ modules: [{ file: whole, as, calls: CALLS }] }, only)
    t.deepEqual(hot.modules[0].results, expected)
    t.deepEqual(story(hot), HOT)
  }
  const small = await run({ modules: [{ file: tiny, options: { optimize: false }, calls: CALLS }] }, only)
  t.deepEqual(small.modules[0].results, expected, 'below minSize')
})
