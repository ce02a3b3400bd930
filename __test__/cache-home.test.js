'use strict'
// Homes, names and users that a cache has to live with: the program's results are right, and what cannot be a cache is told
// once, with its path.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const { COLD, HOT, UNCACHED, entries, environment, files, folder, warned } = require('./support/commands.js')
const { ROOT, UNDER, endure, subject } = require('./support/hostile.js')

const made = subject(test)

// On macOS the user's cache directory is another, which no variable moves.
const onUnix = process.platform === 'darwin' ? undefined : test.serial
// What another user may do is a question only root can ask.
const asRoot = ROOT ? onUnix : undefined
const NOBODY = 65534

/** A cold run, then a hot one. */
async function works(t, settings) {
  t.deepEqual((await endure(t, made, made.job(), settings)).story, COLD)
  t.deepEqual((await endure(t, made, made.job(), settings)).story, HOT)
}

/** A run without a cache, told once. */
async function refused(t, settings, code, at) {
  const { failures, story } = await endure(t, made, made.job(), settings)
  t.deepEqual(story, ['cacheWriteFailed', ...UNCACHED])
  t.deepEqual(
    failures.map(({ code, path }) => [code, path]),
    [[code, at]]
  )
}

/** A job's settings with the user's directory said by these variables alone. */
const home = (HOME, XDG_CACHE_HOME) => ({ env: { WASM_COMPILE_CACHE: undefined, HOME, XDG_CACHE_HOME } })

onUnix?.('a home that is a link to nothing', async (t) => {
  const at = path.join(folder(t), 'home')
  fs.symlinkSync('nowhere', at)
  await refused(t, home(at), 'ERR_WASM_CACHE_CREATE', path.join(at, '.cache/wasm-compile-cache'))
})

onUnix?.('a home that is a link to another place', async (t) => {
  const at = folder(t)
  fs.mkdirSync(path.join(at, 'real'))
  fs.symlinkSync('real', path.join(at, 'home'))
  await works(t, home(path.join(at, 'home')))
  t.is(entries(path.join(at, 'real/.cache/wasm-compile-cache')).length, 1)
})

onUnix?.('a home that is a file', async (t) => {
  const at = path.join(folder(t), 'home')
  fs.writeFileSync(at, '')
  await refused(t, home(at), 'ERR_WASM_CACHE_CREATE', path.join(at, '.cache/wasm-compile-cache'))
})

onUnix?.('a relative home', async (t) => {
  const cwd = folder(t)
  await refused(t, { ...home('home'), cwd }, 'ERR_WASM_CACHE_NO_DIRECTORY')
  t.deepEqual(fs.readdirSync(cwd), [])
})

onUnix?.('a relative or empty XDG_CACHE_HOME does not count', async (t) => {
  const cwd = folder(t)
  for (const odd of ['cache', './cache', '']) {
    const at = path.join(folder(t), 'home')
    await works(t, { ...home(at, odd), cwd })
    t.is(entries(path.join(at, '.cache/wasm-compile-cache')).length, 1)
  }
  t.deepEqual(fs.readdirSync(cwd), [])
})

onUnix?.('an XDG_CACHE_HOME with dots, slashes, spaces, a line break and a quote', async (t) => {
  const at = folder(t)
  await works(t, home(at, `${at}//a b/./"quote\n'/`))
  t.is(entries(path.join(at, 'a b', '"quote\n\'', 'wasm-compile-cache')).length, 1)
})

onUnix?.('an XDG_CACHE_HOME that is not UTF-8', async (t) => {
  const at = folder(t)
  const under = ['sh', '-c', `XDG_CACHE_HOME="$0/$(printf '\\377\\376')" exec "$@"`, at]
  await works(t, { ...home(at), under })
  const [name] = fs.readdirSync(at, { encoding: 'buffer' })
  t.deepEqual(name, Buffer.of(255, 254))
})

asRoot?.('no home, and no entry in the list of users', async (t) => {
  await refused(t, { ...home(), user: 54321 }, 'ERR_WASM_CACHE_NO_DIRECTORY')
})

asRoot?.('a home that another user may not write to', async (t) => {
  const at = folder(t)
  fs.chmodSync(at, 0o755)
  await refused(t, { ...home(at), user: NOBODY }, 'ERR_WASM_CACHE_CREATE', path.join(at, '.cache/wasm-compile-cache'))
  t.deepEqual(fs.readdirSync(at), [])
})

asRoot?.("another user finds root's cache: it is not used, whether it may be read or not", async (t) => {
  const cache = path.join(folder(t), 'cache')
  fs.chmodSync(path.dirname(cache), 0o755)
  await works(t, { cache })
  const before = files(cache)
  for (const mode of [0o700, 0o755]) {
    fs.chmodSync(cache, mode)
    const code = mode === 0o700 ? 'ERR_WASM_CACHE_READ' : 'ERR_WASM_CACHE_WRONG_OWNER'
    await refused(t, { cache, user: NOBODY }, code, cache)
  }
  t.deepEqual(files(cache), before)
})

asRoot?.("root finds another user's cache: it is not used, and nothing is made in it", async (t) => {
  const parent = folder(t)
  fs.chownSync(parent, NOBODY, NOBODY)
  const cache = path.join(parent, 'cache')
  await works(t, { cache, user: NOBODY })
  const before = files(cache)
  // The way to it is the other user's already.
  await refused(t, { cache }, 'ERR_WASM_CACHE_WRONG_OWNER', parent)
  t.deepEqual(files(cache), before)
  t.deepEqual((await endure(t, made, made.job(), { cache, user: NOBODY })).story, HOT)
})

asRoot?.('two users in one sticky directory, as /tmp is, each with a cache', async (t) => {
  const shared = folder(t)
  fs.chmodSync(shared, 0o1777)
  await works(t, { cache: path.join(shared, 'root') })
  await works(t, { cache: path.join(shared, 'nobody'), user: NOBODY })
  // Whoever is first has the name; the other is told.
  await refused(t, { cache: path.join(shared, 'nobody') }, 'ERR_WASM_CACHE_WRONG_OWNER', path.join(shared, 'nobody'))
})

asRoot?.("artifacts, keys and notes that another user copied into one's cache are not used", async (t) => {
  const [theirs, ours] = [folder(t), folder(t)].map((at) => path.join(at, 'cache'))
  fs.chownSync(path.dirname(theirs), NOBODY, NOBODY)
  await works(t, { cache: theirs, user: NOBODY })
  await works(t, { cache: ours })
  for (const name of files(theirs)) {
    if (!/\.(cwasm|ok)$/.test(name)) continue
    fs.copyFileSync(path.join(theirs, name), path.join(ours, name))
    fs.chownSync(path.join(ours, name), 0, 0)
  }
  const { story } = await endure(t, made, made.job(), { cache: ours })
  t.deepEqual(story, ['moduleCacheInvalid', ...COLD])
})

test.serial('a directory that everybody may write to, anywhere on the way', async (t) => {
  const at = folder(t)
  const cache = path.join(at, 'a/b/cache')
  await works(t, { cache })
  for (const open of [at, path.join(at, 'a'), path.join(at, 'a/b')]) {
    fs.chmodSync(open, 0o777)
    await refused(t, { cache }, 'ERR_WASM_CACHE_UNSAFE_MODE', open)
    fs.chmodSync(open, 0o1777)
    t.deepEqual((await endure(t, made, made.job(), { cache })).story, HOT, 'the sticky bit keeps others from moving it')
    fs.chmodSync(open, 0o700)
  }
})

test.serial('a name that is too long', async (t) => {
  const cache = path.join(folder(t), 'x'.repeat(256))
  await refused(t, { cache }, 'ERR_WASM_CACHE_CREATE', cache)
})

/** A path of exactly `length` bytes below `at`. */
function deep(at, length) {
  let made = at
  while (length - made.length > 201) made = path.join(made, 'd'.repeat(199))
  return path.join(made, 'e'.repeat(length - made.length - 1))
}

test.serial('a path that is very long', async (t) => {
  const cache = deep(folder(t), 3000)
  await works(t, { cache })
})

test.serial('a path that is too long, or that becomes too long below it', async (t) => {
  const at = folder(t)
  await refused(t, { cache: deep(at, 4200) }, 'ERR_WASM_CACHE_CREATE', deep(at, 4200))
  // PATH_MAX is 4096, with the zero at the end; at each of these something else does not fit.
  for (const length of [4095, 4085, 4070, 4060, 4040, 4010]) {
    const cache = deep(at, length)
    const { failures } = await endure(t, made, made.job(), { cache })
    t.is(failures.length, 1, `${length}`)
    t.true(failures[0].path.startsWith(cache))
  }
})

test.serial('a cache that is removed while the program runs', async (t) => {
  const parent = folder(t)
  const cache = path.join(parent, 'cache')
  const { failures, story } = await endure(t, made, { ...made.job('bytes', 'sync', 'response'), lose: cache }, { cache })
  // Either it says that it is gone, or it makes another one; but not nothing.
  if (failures.length === 0) t.is(entries(cache).length, 2)
  for (const failure of failures) t.true(failure.path.startsWith(cache))
  t.is(story.filter((name) => name === 'baselineReady').length, 3)
  t.deepEqual((await endure(t, made, made.job(), { cache })).failures, [], 'the next program makes it anew')
})

// ── Who is told, and how ────────────────────────────────────────────────────────────────────────────────────────────

/** What a program writes that compiles a module in its main thread and in some workers, each in a partition of its own. */
function threads(settings) {
  const program = `
    const W = require(${JSON.stringify(path.join(__dirname, '../index.js'))})
    const { Worker, isMainThread, threadId } = require('node:worker_threads')
    const bytes = require('node:fs').readFileSync(${JSON.stringify(made.file)})
    W.compile(bytes, { minSize: 0, partition: String(threadId) }).then(async (module) => {
      await W.Module.optimized(module)
      // Once more round the event loop: the warning is printed in a tick of its own.
      setImmediate(() => console.log('done'))
    })
    if (isMainThread) for (let count = 0; count < 3; count++) new Worker(__filename)`
  const file = path.join(path.dirname(made.file), 'threads.js')
  fs.writeFileSync(file, program)
  const [command, ...argv] = [...(settings.under ?? []), process.execPath, ...(settings.flags ?? []), file]
  return new Promise((resolve, reject) => {
    execFile(command, argv, { env: environment(settings.env) }, (error, stdout, stderr) =>
      error ? reject(error) : resolve({ stdout, stderr })
    )
  })
}

test.serial('threads that all fail to write are one warning', async (t) => {
  const cache = path.join(folder(t), 'cache')
  await works(t, { cache })
  const below = files(cache).filter((name) => fs.statSync(path.join(cache, name)).isDirectory())
  for (const name of below) fs.chmodSync(path.join(cache, name), 0o500)
  const env = { WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' }
  const { stdout, stderr } = await threads({ env, under: UNDER })
  t.is(stdout, 'done\n'.repeat(4))
  const { warnings, rest } = warned({ stderr })
  t.deepEqual(
    warnings.map(({ name, code }) => [name, code]),
    [['WasmCompileCacheWarning', 'ERR_WASM_CACHE_WRITE']]
  )
  t.true(warnings[0].message.includes(cache))
  t.is(rest, '')
  const quiet = await threads({ env, under: UNDER, flags: ['--no-warnings'] })
  t.deepEqual([quiet.stdout, quiet.stderr], [stdout, ''], "who does not want Node's warnings does not get ours")
  const { stderr: story } = await threads({ env: { ...env, NODE_DEBUG: 'wasm-compile-cache' }, under: UNDER })
  t.is(story.match(/cacheWriteFailed/g).length, 4, 'who asks is told of each')
  for (const name of below) fs.chmodSync(path.join(cache, name), 0o700)
})

test.serial('a listener of warnings gets it, with name, code and path', async (t) => {
  const cache = path.join(folder(t), 'file')
  fs.writeFileSync(cache, '')
  const preload = path.join(folder(t), 'listen.js')
  fs.writeFileSync(
    preload,
    `process.on('warning', ({ name, code, message }) => console.log(JSON.stringify({ name, code, message })))`
  )
  const { stdout } = await threads({ env: { WASM_COMPILE_CACHE: cache }, flags: ['--no-warnings', '--require', preload] })
  const heard = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
  t.is(heard.length, 1)
  t.like(heard[0], { name: 'WasmCompileCacheWarning', code: 'ERR_WASM_CACHE_NOT_DIRECTORY' })
  t.true(heard[0].message.includes(cache))
})
