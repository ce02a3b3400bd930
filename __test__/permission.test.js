'use strict'
// node --permission: a program that may load addons runs as ever, and what it may not do with Node's own modules is not
// done for it.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const { promisify } = require('node:util')
const test = require('ava')

const { TEXT } = require('./children/drop-in/outcome.js')
const { entries, environment, folder } = require('./support/commands.js')
const { linux, mentioning, over, until } = require('./support/processes.js')
const { REGISTER, ROOT, moduleFile, program } = require('./support/programs.js')

const major = Number(process.versions.node.split('.')[0])
const PERMISSION = [
  major < 22 ? '--experimental-permission' : '--permission',
  '--allow-addons',
  '--disable-warning=SecurityWarning', // of --allow-addons
  '--disable-warning=ExperimentalWarning',
]
// Large enough that a process that returns at once is over before the optimizing tier.
const SQL = require.resolve('sql.js/dist/sql-wasm.wasm')

/** What lies in a folder, and what it says of its times. */
const snapshot = (directory) =>
  fs
    .readdirSync(directory, { recursive: true })
    .sort()
    .map((name) => [name, fs.statSync(path.join(directory, name)).mtimeMs])

/** A cache that holds the module, made without the permission model. */
async function warm(t, file) {
  const cache = path.join(folder(t), 'cache')
  const { told } = await program('permission.js', [file, 'optimized'], { env: { WASM_COMPILE_CACHE: cache } })
  t.true(told.events.includes('cachedModule'))
  t.is(entries(cache).length, 1)
  return cache
}

/** Node's arguments that allow what is named, beside reading the package, its tests, and the module. */
function allow(file, ...more) {
  const read = [ROOT, path.dirname(fs.realpathSync(file))]
  return [...PERMISSION, ...read.map((directory) => `--allow-fs-read=${directory}/*`), ...more]
}

test('a program runs as on the built-in, and nothing is said', async (t) => {
  const file = await moduleFile(t, TEXT)
  const flags = [...PERMISSION, '--allow-fs-read=*']
  const builtin = await program('program.js', [file], { flags })
  const { told, stderr } = await program('program.js', [file], { flags: [...flags, '--require', REGISTER] })
  t.is(told.here, 'ours')
  t.deepEqual({ ...told.seen, engine: 'built-in' }, builtin.told.seen)
  t.is(stderr, builtin.stderr)
  t.is(stderr, '')
})

test('a worker thread of such a program, too', async (t) => {
  const file = await moduleFile(t, TEXT)
  const flags = [...PERMISSION, '--allow-fs-read=*', '--allow-worker']
  const builtin = await program('program.js', [file, 'worker'], { flags })
  const { told, stderr } = await program('program.js', [file, 'worker'], { flags: [...flags, '--require', REGISTER] })
  t.is(told.seen.engine, 'ours')
  t.deepEqual({ ...told.seen, engine: 'built-in' }, builtin.told.seen)
  t.is(stderr, '')
})

test('without the permission to write there, nothing is made: no cache, and no finisher', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const env = { WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '1' }
  for (const [file, how] of [
    [await moduleFile(t, TEXT), 'optimized'],
    [SQL, 'return'],
  ]) {
    const flags = allow(file, `--allow-fs-read=${cache}/*`, '--allow-child-process')
    const { told, stderr } = await program('permission.js', [file, how], { flags, env })
    t.deepEqual(
      told.events.filter((name) => /cache|handedOff/i.test(name)),
      [],
      how
    )
    t.is(stderr, '')
    t.false(fs.existsSync(cache))
  }
})

test('without the permission to write there, what is there is used and left as it is', async (t) => {
  const file = await moduleFile(t, TEXT)
  const cache = await warm(t, file)
  // Not even the note that an artifact was verified comes back.
  for (const name of fs.readdirSync(cache, { recursive: true })) if (name.endsWith('.ok')) fs.rmSync(path.join(cache, name))
  const before = snapshot(cache)
  const env = { WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '1' }
  const { told, stderr } = await program('permission.js', [file, 'optimized'], {
    flags: allow(file, `--allow-fs-read=${cache}/*`),
    env,
  })
  t.true(told.events.includes('moduleCacheHit'))
  t.is(stderr, '')
  t.deepEqual(snapshot(cache), before)
})

test('a shared folder is read with the permission to read there, and not without', async (t) => {
  const shared = path.join(folder(t), 'shared')
  const remote = { WASM_COMPILE_CACHE_REMOTE: pathToFileURL(shared).href, WASM_COMPILE_CACHE_REMOTE_TRUST: '1' }
  const cpu = { WASM_COMPILE_CACHE_CPU: 'x86-64-v2' }
  const given = ['warm', '--directory', folder(t), '--remote', remote.WASM_COMPILE_CACHE_REMOTE, '--trust', SQL]
  const cli = path.join(ROOT, 'dist/cli.js')
  await promisify(execFile)(process.execPath, [cli, ...given], { env: environment(process.arch === 'x64' ? cpu : {}) })
  const net = process.allowedNodeEnvironmentFlags.has('--allow-net') ? ['--allow-net'] : []
  for (const [more, hits] of [
    [[], 0],
    [[`--allow-fs-read=${shared}/*`], 1],
  ]) {
    const cache = path.join(folder(t), 'cache')
    const own = [`--allow-fs-read=${cache}/*`, `--allow-fs-write=${cache}/*`, '--allow-worker', '--allow-child-process']
    const { told } = await program('permission.js', [SQL, 'optimized'], {
      flags: allow(SQL, ...own, ...net, ...more),
      env: { ...remote, ...(process.arch === 'x64' ? cpu : {}), WASM_COMPILE_CACHE: cache },
    })
    t.is(told.events.filter((name) => name === 'remoteHit').length, hits)
    t.is(told.events.filter((name) => name === 'remoteStored').length, 0)
  }
})

test('without the permission to read there, the cache is not used', async (t) => {
  const file = await moduleFile(t, TEXT)
  const cache = await warm(t, file)
  const before = snapshot(cache)
  for (const more of [[], [`--allow-fs-write=${cache}/*`]]) {
    const { told, stderr } = await program('permission.js', [file, 'optimized'], {
      flags: allow(file, ...more),
      env: { WASM_COMPILE_CACHE: cache },
    })
    t.deepEqual(
      told.events.filter((name) => /cache/i.test(name)),
      []
    )
    t.true(told.events.includes('optimizedReady'))
    t.is(stderr, '')
    t.deepEqual(snapshot(cache), before)
  }
})

test('with both, the cache is used as ever', async (t) => {
  const file = await moduleFile(t, TEXT)
  const cache = path.join(folder(t), 'cache')
  fs.mkdirSync(cache, { mode: 0o700 })
  const flags = allow(file, `--allow-fs-read=${cache}/*`, `--allow-fs-write=${cache}/*`)
  const env = { WASM_COMPILE_CACHE: cache }
  const cold = await program('permission.js', [file, 'optimized'], { flags, env })
  t.true(cold.told.events.includes('cachedModule'))
  const hot = await program('permission.js', [file, 'optimized'], { flags, env })
  t.true(hot.told.events.includes('moduleCacheHit'))
  t.is(hot.stderr, '')
})

test('without the permission to start processes, none is left behind, and no module is spooled', async (t) => {
  const cache = path.join(folder(t), 'cache')
  fs.mkdirSync(cache, { mode: 0o700 })
  const flags = allow(SQL, `--allow-fs-read=${cache}/*`, `--allow-fs-write=${cache}/*`)
  const { told, stderr } = await program('permission.js', [SQL, 'return'], {
    flags,
    env: { WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '1' },
  })
  t.false(told.events.includes('handedOff'))
  t.is(stderr, '')
  t.deepEqual(
    fs.readdirSync(cache, { recursive: true }).filter((name) => name.endsWith('.spool')),
    []
  )
})

test('with the permission for processes and threads, the one that is left behind finishes the module', async (t) => {
  const cache = path.join(folder(t), 'cache')
  fs.mkdirSync(cache, { mode: 0o700 })
  const flags = allow(SQL, `--allow-fs-read=${cache}/*`, `--allow-fs-write=${cache}/*`, '--allow-child-process', '--allow-worker')
  const { told } = await program('permission.js', [SQL, 'return'], {
    flags,
    env: { WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '1' },
  })
  t.true(told.events.includes('handedOff'))
  await until(() => entries(cache).length === 1, 'the artifact')
  if (linux) await over(mentioning(cache))
})

test('a file: URL that may not be read is the error that Node has for it', async (t) => {
  const file = await moduleFile(t, TEXT)
  const { told } = await program('permission.js', [file, 'optimized'], { flags: allow(SQL) })
  t.is(told.error, 'ERR_ACCESS_DENIED')
})

test('the command of docs/compatibility.md is all that a program needs, and its parts are needed', async (t) => {
  const app = folder(t)
  const modules = path.join(app, 'node_modules')
  const addon = fs.readdirSync(ROOT).filter((name) => name.endsWith('.node'))
  for (const name of ['index.js', 'register.js', 'binding.js', 'package.json', 'dist', ...addon]) {
    fs.cpSync(path.join(ROOT, name), path.join(modules, 'wasm-compile-cache', name), { recursive: true })
  }
  const { dependencies } = require('../package.json')
  for (const name of Object.keys(dependencies)) {
    fs.cpSync(path.join(ROOT, 'node_modules', name), path.join(modules, name), { recursive: true })
  }
  fs.writeFileSync(path.join(app, 'app.js'), 'console.log(typeof WebAssembly.Module.tier)')
  const [, command] = /^node (--permission .*)$/m.exec(fs.readFileSync(path.join(ROOT, 'docs/compatibility.md'), 'utf8'))
  const words = command
    .split(' ')
    .map((word) => word.replace(/^(.*=)?\/app\//, (_, option = '') => `${option}${fs.realpathSync(app)}/`))
  const given =
    major < 22
      ? words.map((word) => word.replace('--permission', '--experimental-permission').replace('/node_modules', '/*'))
      : words
  const run = (argv) =>
    promisify(execFile)(process.execPath, argv, { cwd: app, env: environment({ WASM_COMPILE_CACHE: path.join(app, 'cache') }) })
  const { stdout, stderr } = await run(given)
  t.is(stdout, 'function\n')
  t.notRegex(stderr, /WasmCompileCacheWarning/)

  const withoutAddons = await run(given.filter((word) => word !== '--allow-addons'))
  t.is(withoutAddons.stdout, 'undefined\n')
  t.regex(withoutAddons.stderr, /ERR_WASM_ADDONS_DISABLED/)
  await t.throwsAsync(run(given.filter((word) => !word.startsWith('--allow-fs-read'))), { message: /ERR_ACCESS_DENIED/ })
})
