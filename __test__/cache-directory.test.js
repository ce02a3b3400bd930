'use strict'
// Where the cache is, and directories that cannot be used: the program's results are right, and it is told why.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
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
  story,
  warned,
} = require('./support/commands.js')
const { machine } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const ROOT = process.getuid?.() === 0
const CALLS = [
  ['run', 9],
  ['run', -1],
]

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-modules-'))
test.after.always(() => remove(root))
const file = path.join(root, 'machine.wasm')

let expected
test.before(async () => {
  const bytes = await machine()
  fs.writeFileSync(file, bytes)
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { tick: (x) => x + 1 } })
  expected = CALLS.map(([name, ...parameters]) => exports[name](...parameters))
})

const job = (more) => ({ modules: [{ file, options: { minSize: 0 }, calls: CALLS, ...more }] })

async function compile(t, settings, more) {
  const ended = await run({ ...job(), ...more }, settings)
  t.deepEqual(ended.modules[0].results, expected)
  return ended
}

// ── Where it is ─────────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('WASM_DISABLE_COMPILE_CACHE=1: nothing is looked up, nothing is stored', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const off = { cache, env: { WASM_DISABLE_COMPILE_CACHE: '1' } }
  t.deepEqual(story(await compile(t, off)), UNCACHED)
  t.false(fs.existsSync(cache))
  t.deepEqual(story(await compile(t, { cache })), COLD)
  t.deepEqual(story(await compile(t, off)), UNCACHED)
  t.deepEqual(story(await compile(t, { cache, env: { WASM_DISABLE_COMPILE_CACHE: '0' } })), HOT)
})

test.serial('WASM_COMPILE_CACHE may be a relative path: it is one of the folder the program was started in', async (t) => {
  const cwd = folder(t)
  const elsewhere = fs.mkdtempSync(path.join(root, 'elsewhere-'))
  const settings = { cwd, env: { WASM_COMPILE_CACHE: 'below/cache' } }
  t.deepEqual(story(await compile(t, settings, { chdir: elsewhere })), COLD)
  t.is(entries(path.join(cwd, 'below/cache')).length, 1)
  t.deepEqual(story(await compile(t, { cache: path.join(cwd, 'below/cache') })), HOT)
})

// On macOS the user's cache directory is another, which no variable moves.
const FREE = process.platform !== 'darwin'

function withoutDirectory(t) {
  if (!FREE) t.log(`on ${process.platform} the user's cache directory cannot be moved by a variable: not touched`)
  return FREE ? folder(t) : undefined
}

test.serial("by default it is in the user's cache directory", async (t) => {
  const home = withoutDirectory(t)
  if (home === undefined) return t.false(FREE)
  const at = { xdg: path.join(home, 'xdg'), home: path.join(home, 'home') }
  const unset = { WASM_COMPILE_CACHE: undefined }
  await compile(t, { env: { ...unset, HOME: at.home, XDG_CACHE_HOME: undefined } })
  t.is(entries(path.join(at.home, '.cache/wasm-compile-cache')).length, 1)
  await compile(t, { env: { ...unset, HOME: at.home, XDG_CACHE_HOME: at.xdg } })
  t.is(entries(path.join(at.xdg, 'wasm-compile-cache')).length, 1)
  t.is(files(at.home).filter((name) => name.endsWith('.cwasm')).length, 1)
  t.deepEqual(story(await compile(t, { env: { WASM_COMPILE_CACHE: '', HOME: at.home, XDG_CACHE_HOME: at.xdg } })), HOT)
})

test.serial('a program that empties its environment keeps the directory it was started with', async (t) => {
  const home = withoutDirectory(t)
  if (home === undefined) return t.false(FREE)
  const env = { WASM_COMPILE_CACHE: undefined, HOME: path.join(home, 'home'), XDG_CACHE_HOME: path.join(home, 'xdg') }
  t.deepEqual(story(await compile(t, { env }, { naked: true })), COLD)
  t.is(entries(path.join(home, 'xdg/wasm-compile-cache')).length, 1)
})

/** Loads the package in the main thread, then in a worker thread whose environment is another; then compiles. */
function withWorker(env, workerEnv) {
  const index = JSON.stringify(path.join(__dirname, '../index.js'))
  const program = `
    const W = require(${index})
    const { Worker } = require('node:worker_threads')
    const worker = new Worker(${JSON.stringify(`require(${index})`)}, { eval: true, env: ${JSON.stringify(workerEnv)} })
    worker.on('exit', () => W.Module.optimized(new W.Module(require('node:fs').readFileSync(${JSON.stringify(file)}), { minSize: 0 })))`
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['-e', program], { env: environment(env) }, (error) => (error ? reject(error) : resolve()))
  })
}

test.serial("a worker thread's environment does not move the cache", async (t) => {
  const [cache, other] = [folder(t), folder(t)]
  await withWorker({ WASM_COMPILE_CACHE: cache }, { WASM_COMPILE_CACHE: other })
  t.deepEqual([entries(cache).length, entries(other).length], [1, 0])
})

test.serial("a worker thread's environment does not switch the cache on or off", async (t) => {
  const cache = folder(t)
  await withWorker({ WASM_COMPILE_CACHE: cache, WASM_DISABLE_COMPILE_CACHE: '1' }, { WASM_COMPILE_CACHE: cache })
  t.is(entries(cache).length, 0)
  await withWorker({ WASM_COMPILE_CACHE: cache }, { WASM_COMPILE_CACHE: cache, WASM_DISABLE_COMPILE_CACHE: '1' })
  t.is(entries(cache).length, 1)
})

// ── Directories that cannot be used ─────────────────────────────────────────────────────────────────────────────────

// What root may do to any file is taken from it; it is the owner of what it makes all the same.
const UNDER = ROOT ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []

/** A command that finds the directory unusable: right results, one event and one warning that name path and code. */
async function refused(t, cache, code, at = cache) {
  const ended = await compile(t, { cache, under: UNDER })
  t.deepEqual(story(ended), ['cacheWriteFailed', ...UNCACHED], 'told once')
  const [event] = named(ended, 'cacheWriteFailed')
  t.like(event, { code, path: at, source: '' })
  t.true(event.reason.includes(at), event.reason)
  const { warnings, rest } = warned(ended)
  t.deepEqual(warnings, [{ name: 'WasmCompileCacheWarning', code, message: event.reason }], 'and Node once')
  t.is(rest, '')
}

test.serial('a directory that cannot be made', async (t) => {
  const parent = folder(t)
  fs.chmodSync(parent, 0o500)
  await refused(t, path.join(parent, 'cache'), 'ERR_WASM_CACHE_CREATE')
  fs.chmodSync(parent, 0o700)
})

test.serial('a directory that cannot be written to', async (t) => {
  const cache = folder(t)
  fs.chmodSync(cache, 0o500)
  await refused(t, cache, 'ERR_WASM_CACHE_CREATE', path.join(cache, version()))
  fs.chmodSync(cache, 0o700)
})

/** The folder of this version: format, package, engine. */
function version() {
  const { version: ours } = require('../package.json')
  const [, wasmer] = fs
    .readFileSync(path.join(__dirname, '..', 'Cargo.lock'), 'utf8')
    .match(/name = "wasmer-compiler"\nversion = "(.+)"/)
  return `v3-${ours}-wasmer-${wasmer}`
}

test.serial('a directory that can no longer be written to still gives what is in it', async (t) => {
  const cache = folder(t)
  const missing = path.join(root, 'missing.wasm')
  fs.copyFileSync(file, missing)
  fs.appendFileSync(missing, Buffer.of(0, 2, 1, 120)) // a custom section makes it another module
  await compile(t, { cache })
  const below = path.join(cache, version())
  for (const each of [below, cache]) fs.chmodSync(each, 0o500)
  t.deepEqual(story(await compile(t, { cache, under: UNDER })), HOT)
  const ended = await run({ modules: [{ file: missing, options: { minSize: 0 }, calls: CALLS }] }, { cache, under: UNDER })
  t.deepEqual(ended.modules[0].results, expected)
  t.deepEqual(story(ended), ['baselineReady', 'cacheWriteFailed', 'optimizedReady'])
  const [event] = named(ended, 'cacheWriteFailed')
  t.is(event.code, 'ERR_WASM_CACHE_WRITE')
  t.is(path.dirname(event.path), below)
  t.true(event.path.endsWith('.cwasm') && event.reason.includes(event.path))
  for (const each of [below, cache]) fs.chmodSync(each, 0o700)
  t.is(entries(cache).length, 1)
})

test.serial('a symbolic link', async (t) => {
  const made = folder(t)
  const cache = path.join(made, 'link')
  fs.mkdirSync(path.join(made, 'real'))
  fs.symlinkSync('real', cache)
  await refused(t, cache, 'ERR_WASM_CACHE_SYMLINK')
  t.deepEqual(fs.readdirSync(path.join(made, 'real')), [])
})

test.serial("another user's directory", async (t) => {
  let cache = '/'
  if (ROOT) {
    cache = folder(t)
    fs.chownSync(cache, 12345, 12345)
    fs.chmodSync(cache, 0o755)
  }
  await refused(t, cache, 'ERR_WASM_CACHE_WRONG_OWNER')
  if (ROOT) t.deepEqual(fs.readdirSync(cache), [])
})

test.serial('a directory that others may write to', async (t) => {
  const cache = folder(t)
  fs.chmodSync(cache, 0o770)
  await refused(t, cache, 'ERR_WASM_CACHE_UNSAFE_MODE')
  t.deepEqual(fs.readdirSync(cache), [])
})

test.serial('a file', async (t) => {
  const cache = path.join(folder(t), 'file')
  fs.writeFileSync(cache, '')
  await refused(t, cache, 'ERR_WASM_CACHE_NOT_DIRECTORY')
})

test.serial('a full disk', async (t) => {
  const disk = folder(t)
  // In a mount namespace of its own, which ends with the command, and for users who are not root with a user namespace.
  const script = 'mount -t tmpfs -o size=1m none "$0" && exec "$@"'
  const driver = path.join(__dirname, 'children/full-disk.js')
  const argv = [
    '--user',
    '--map-root-user',
    '--mount',
    'sh',
    '-c',
    script,
    disk,
    process.execPath,
    driver,
    disk,
    JSON.stringify(job()),
  ]
  const env = environment({ WASM_COMPILE_CACHE_FINISH: '0' })
  const { error, stdout, stderr } = await new Promise((resolve) => {
    execFile('unshare', argv, { env }, (error, stdout, stderr) => resolve({ error, stdout, stderr }))
  })
  if (error && stdout === '') {
    const reason = error.code === 'ENOENT' ? 'there is no unshare(1)' : stderr.trim()
    t.log(`no small file system can be mounted here: ${reason}`)
    t.regex(reason, /^(there is no unshare|unshare: |mount: )/)
    return
  }
  t.is(error, null, stderr)
  const [first, full, again, hot] = JSON.parse(stdout)
  for (const { modules } of [first, full, again, hot]) t.deepEqual(modules[0].results, expected)
  t.deepEqual(story(full), ['baselineReady', 'cacheWriteFailed', 'optimizedReady'])
  const [event] = named(full, 'cacheWriteFailed')
  t.is(event.code, 'ERR_WASM_CACHE_FULL')
  t.true(event.path.startsWith(`${disk}/cache/`) && event.path.endsWith('.cwasm'), event.path)
  t.true(event.reason.includes(event.path))
  t.deepEqual(
    full.files.filter((name) => /\.cwasm|\.tmp-/.test(name)),
    [],
    'nothing half-written is left'
  )
  t.deepEqual([again, hot].map(story), [COLD, HOT], 'and when there is space again')
  t.deepEqual(litter(disk), [])
})
