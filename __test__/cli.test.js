'use strict'
// The command line as a black box: real caches, real modules, text and JSON.

const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { setImmediate, setTimeout } = require('node:timers/promises')
const { pathToFileURL } = require('node:url')
const test = require('ava')

const { MAIN, cli, cliJson, startCli, startOnTerminal, startProgram } = require('./support/cli.js')
const { entries, folder } = require('./support/commands.js')
const { small } = require('./support/mounts.js')
const { WASM, origin } = require('./support/origin.js')
const { answer } = require('./support/wat.js')

const ROOT = path.join(__dirname, '..')
const WEBP = path.join(ROOT, 'node_modules/@jsquash/webp/codec')
const DECODER = path.join(WEBP, 'dec/webp_dec.wasm')
const ENCODER = path.join(WEBP, 'enc/webp_enc_simd.wasm')
const TINY = 'tiny.wasm'
const DRIVER = path.join(__dirname, 'packages/webp.js')
const COMMANDS = ['run', 'warm', 'ls', 'stats', 'verify', 'prune', 'clear', 'dir', 'explain', 'export', 'import', 'trace', 'doctor']

const linux = process.platform === 'linux'

/** A folder with the modules of tests beside each other. */
let modules
/** A cache that holds the decoder and the encoder, the latter in the partition "p". Not to be changed. */
let filled

test.before(async () => {
  const at = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-cli-'))
  modules = path.join(at, 'modules')
  filled = path.join(at, 'cache')
  fs.mkdirSync(path.join(modules, 'below'), { recursive: true })
  fs.copyFileSync(DECODER, path.join(modules, 'decoder.wasm'))
  fs.copyFileSync(DECODER, path.join(modules, 'below/again.wasm'))
  fs.writeFileSync(path.join(modules, TINY), await answer(42))
  await cliJson(['warm', DECODER], { cache: filled })
  await cliJson(['warm', ENCODER, '--partition', 'p'], { cache: filled })
})
test.after.always(() => modules && fs.rmSync(path.dirname(modules), { recursive: true, force: true }))

const script = (t, code) => {
  const file = path.join(folder(t), 'script.js')
  fs.writeFileSync(file, `'use strict'\n${code}`)
  return file
}

/** A cache of the test's own, with what `filled` holds. */
function copied(t) {
  const cache = path.join(folder(t), 'cache')
  fs.cpSync(filled, cache, { recursive: true, preserveTimestamps: true })
  return cache
}

const lines = ({ stdout }) => stdout.trimEnd().split('\n')

// ── All commands ────────────────────────────────────────────────────────────────────────────────────────────────────

test('help names every command, the exit codes, and is plain text', async (t) => {
  const { code, stdout, stderr } = await cli(['--help'])
  t.is(code, 0)
  t.is(stderr, '')
  for (const name of COMMANDS) t.regex(stdout, new RegExp(`^  ${name} `, 'm'))
  t.regex(stdout, /^Exit codes:\n {2}0 .*\n {2}1 .*\n {2}2 /m)
  t.false(stdout.includes('\u001b'))
})

for (const name of COMMANDS) {
  test(`${name} --help tells of its options`, async (t) => {
    const { code, stdout } = await cli([name, '--help'])
    t.is(code, 0)
    t.regex(stdout, new RegExp(`^Usage: wasm-compile-cache ${name} `))
    for (const option of ['--json', '--directory <path>']) t.true(stdout.includes(option), option)
  })
}

test('the version is the package\'s', async (t) => {
  t.is((await cli(['--version'])).stdout, `${require('../package.json').version}\n`)
})

for (const [title, args, message] of [
  ['no command', [], /^Usage: /],
  ['an unknown command', ['list'], /unknown command 'list'/],
  ['an unknown option', ['ls', '--colour'], /unknown option '--colour'/],
  ['an argument that is missing', ['warm'], /missing required argument 'target'/],
  ['an argument too many', ['stats', 'x'], /too many arguments for 'stats'/],
  ['a size that is none', ['prune', '--max-size', 'much'], /Write it like 64k, 500M or 2G/],
  ['an age that is none', ['prune', '--max-age', '30'], /Write it like 12h or 30d/],
]) {
  test(`${title} is a usage error: exit code 2`, async (t) => {
    const { code, stdout, stderr } = await cli(args, { cache: folder(t) })
    t.is(code, 2)
    t.is(stdout, '')
    t.regex(stderr, message)
    if (args.length === 0) return
    const { error } = await cliJson(args, { cache: folder(t), code: 2 })
    t.is(error.code, 'ERR_WASM_USAGE')
    t.regex(error.message, message)
  })
}

if (linux) {
  test('output that nobody reads, and output that cannot be written', async (t) => {
    const shell = (command) => startProgram(['bash', '-c', command.replace('B', `'${process.execPath}' '${MAIN}'`)], { cache: filled }).ended
    t.is((await shell('set -o pipefail; B list 2>&1 | true')).code, 2)
    t.is((await shell('set -o pipefail; B ls | true')).code, 0)
    const { code, stderr } = await shell('B ls > /dev/full')
    t.is(code, 1)
    t.regex(stderr, /^error: ENOSPC: .*\n$/)
  })
}

test('what a script prints stays plain, with or without NO_COLOR, when nobody looks at a terminal', async (t) => {
  for (const env of [{}, { NO_COLOR: '1' }, { FORCE_COLOR: '1' }]) {
    const { stdout } = await cli(['ls'], { cache: filled, env })
    t.false(stdout.includes('\u001b'))
  }
})

if (linux) {
  const onTerminal = async (args, settings) => {
    const command = [process.execPath, MAIN, ...args].map((one) => `'${one}'`).join(' ')
    const { stdout } = await startOnTerminal(command, settings).ended
    return stdout
  }

  test('a terminal gets colours, and a bar while modules are compiled; with NO_COLOR no colours', async (t) => {
    const TERM = 'xterm'
    const cache = copied(t)
    const escape = '\u001b['
    const colored = await onTerminal(['warm', ENCODER], { cache, env: { TERM } })
    t.true(colored.includes(`${escape}32mstored`), colored)
    t.regex(colored, /░ 0\/1/)
    const plain = await onTerminal(['ls'], { cache, env: { TERM, NO_COLOR: '1' } })
    t.false(plain.includes(escape))
    t.regex(plain, /webp_dec/)
    const json = await onTerminal(['warm', '--json', DECODER], { cache, env: { TERM } })
    t.is(JSON.parse(json)[0].status, 'cached')
  })
}

test('a cache that is switched off, and one that cannot be used, are failures that say so', async (t) => {
  const off = { cache: folder(t), env: { WASM_DISABLE_COMPILE_CACHE: '1' } }
  for (const name of ['ls', 'stats', 'verify', 'prune', 'clear']) {
    const { code, stderr } = await cli([name], off)
    t.is(code, 1, name)
    t.regex(stderr, /^error: .*WASM_DISABLE_COMPILE_CACHE/, name)
  }
  const { error } = await cliJson(['stats'], { ...off, code: 1 })
  t.is(error.code, 'ERR_WASM_CACHE_DISABLED')
  const file = path.join(folder(t), 'file')
  fs.writeFileSync(file, '')
  const { code, stderr } = await cli(['warm', DECODER, '--directory', file])
  t.is(code, 1)
  t.true(stderr.includes(`error: ${file} is not a directory`), stderr)
})

if (linux) {
  test('a cache that can only be read: what changes it fails, what looks works, and doctor says so', async (t) => {
    const mount = await small(t, 'size=16m')
    const settings = { cache: path.join(mount.path, 'cache'), under: mount.under }
    fs.cpSync(filled, path.join(mount.inside, 'cache'), { recursive: true, preserveTimestamps: true })
    mount.remount('ro')
    for (const args of [['clear'], ['prune'], ['verify'], ['warm', DECODER]]) {
      const { error } = await cliJson(args, { ...settings, code: 1 })
      t.is(error.code, 'ERR_WASM_CACHE_READ_ONLY', args[0])
    }
    t.is((await cliJson(['ls'], settings)).length, 2)
    t.is((await cliJson(['export', path.join(folder(t), 'cache.tar')], settings)).entries.length, 2)
    const { checks } = await cliJson(['doctor'], { ...settings, code: 1 })
    t.deepEqual(checks.filter(({ ok }) => ok === false).map(({ name }) => name), ['directory'])
    t.regex(checks.find(({ name }) => name === 'directory').detail, /can only be read$/)
  })
}

test('--directory counts more than the environment', async (t) => {
  const cache = path.join(folder(t), 'cache')
  for (const [name, ...args] of [['ls'], ['stats'], ['explain', DECODER], ['verify'], ['dir'], ['doctor']]) {
    const told = await cliJson([name, '--directory', filled, ...args], { cache })
    t.true(JSON.stringify(told).includes(name === 'stats' || name === 'verify' ? ':2' : JSON.stringify(filled).slice(1, -1)), name)
  }
  await cliJson(['warm', '--directory', path.join(cache, 'other'), DECODER], { cache })
  t.is(entries(path.join(cache, 'other')).length, 1)
  t.deepEqual(fs.readdirSync(cache), ['other'])
})

test('looking into a cache that is not there makes none', async (t) => {
  const cache = path.join(folder(t), 'cache')
  t.deepEqual(await cliJson(['ls'], { cache }), [])
  t.is((await cli(['ls'], { cache })).stdout, 'Nothing is cached.\n')
  t.is((await cliJson(['stats'], { cache })).entries, 0)
  t.regex((await cli(['stats'], { cache })).stdout, /^entries +0, 0 bytes$/m)
  t.false(fs.existsSync(cache))
})

// ── run and trace ───────────────────────────────────────────────────────────────────────────────────────────────────

test('run: the script is the program, on this package', async (t) => {
  const file = script(t, `
    console.log(JSON.stringify([process.argv.slice(2), require.main === module, process.env.WASM_COMPILE_CACHE]))
    console.log(WebAssembly === require(${JSON.stringify(ROOT)}).WebAssembly)`)
  const { code, stdout, stderr } = await cli(['run', '--directory', 'relative', file, '--json', '-x', '--', 'y'], { cwd: folder(t) })
  t.is(code, 0, stderr)
  const [[args, main, cache], ours] = lines({ stdout }).map((line) => JSON.parse(line))
  t.deepEqual(args, ['--json', '-x', '--', 'y'])
  t.true(main)
  t.is(path.basename(cache), 'relative')
  t.true(path.isAbsolute(cache))
  t.true(ours)
})

test('run and trace end as the script does', async (t) => {
  const settings = { cache: folder(t), cwd: folder(t) }
  for (const name of ['run', 'trace']) {
    t.is((await cli([name, script(t, 'process.exitCode = 7')], settings)).code, 7, name)
    const failed = await cli([name, script(t, "throw new Error('the script')")], settings)
    t.is(failed.code, 1, name)
    t.regex(failed.stderr, /Error: the script/, name)
    const missing = await cli([name, 'missing.js'], settings)
    t.is(missing.code, 1, name)
    t.regex(missing.stderr, /Cannot find module .*missing\.js/, name)
  }
})

if (process.platform !== 'win32') {
  test('run: a script that ends by a signal', async (t) => {
    for (const signal of ['SIGKILL', 'SIGTERM', 'SIGABRT']) {
      const ended = await cli(['run', script(t, `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`)])
      t.like(ended, { code: null, signal }, signal)
    }
  })

  test('run: a signal to the command is one to the script, whose answer counts', async (t) => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) {
      const file = script(t, `
        setInterval(() => {}, 1000)
        process.on('${signal}', () => process.exit(9))
        console.log('ready')`)
      const { child, ended } = startCli(['run', file], { detached: true })
      await once(child.stdout, 'data')
      child.kill(signal)
      t.like(await ended, { code: 9, signal: null }, signal)
    }
  })
}

if (linux) {
  test('run: what is typed at the terminal reaches the script once, even if its standard input is none', async (t) => {
    const file = script(t, `
      let count = 0
      process.on('SIGINT', () => {
        count++
        setTimeout(() => process.exit(10 + count), 300)
      })
      setTimeout(() => {}, 10_000)
      // As the terminal does it: to its foreground group.
      require('node:child_process').spawn('kill', ['-s', 'INT', '--', '0'], { stdio: 'inherit' })`)
    // With `exec`, no shell stays in the group to answer the signal as well.
    const command = `exec '${process.execPath}' '${MAIN}' run '${file}' < /dev/null`
    t.like(await startOnTerminal(command).ended, { code: 11 })
  })
}

test('run --json tells on stderr how each module came about', async (t) => {
  const cache = copied(t)
  const file = script(t, `
    const { readFileSync } = require('node:fs')
    const all = ${JSON.stringify([DECODER, ENCODER])}.map((file) => WebAssembly.compile(readFileSync(file)))
    Promise.all(all).then(() => console.log('compiled'))`)
  const { code, stdout, stderr } = await cli(['run', '--json', file], { cache })
  t.is(code, 0, stderr)
  t.is(stdout, 'compiled\n')
  const told = JSON.parse(stderr)
  t.like(told, { code: 0, signal: null })
  const outcome = (module) => told.modules.find(({ bytes }) => bytes === fs.statSync(module).size).outcome
  t.is(outcome(DECODER), 'hit')
  t.is(outcome(ENCODER), 'compiled', 'it is in another partition')
})

test('trace writes a Chrome trace of the script and of the processes it starts', async (t) => {
  const cwd = folder(t)
  const child = script(t, `
    require(${JSON.stringify(ROOT)}).compile(require('node:fs').readFileSync(${JSON.stringify(DECODER)}))`)
  const file = script(t, `
    WebAssembly.compile(require('node:fs').readFileSync(${JSON.stringify(DECODER)}))
    require('node:child_process').spawnSync(process.execPath, [${JSON.stringify(child)}])
    console.log('done')`)
  const { code, stdout, stderr } = await cli(['trace', '--json', file], { cache: copied(t), cwd })
  t.is(code, 0, stderr)
  t.is(stdout, 'done\n')
  const told = JSON.parse(stderr)
  t.is(told.file, path.join(fs.realpathSync(cwd), 'wasm-compile-cache-trace.json'))
  const { traceEvents } = JSON.parse(fs.readFileSync(told.file, 'utf8'))
  t.is(traceEvents.length, told.events)
  const hits = traceEvents.filter(({ name }) => name === 'moduleCacheHit')
  t.is(new Set(hits.map(({ pid }) => pid)).size, 2)
  const named = await cli(['trace', '--output', 'named.json', file], { cache: copied(t), cwd })
  t.regex(named.stderr, /^\d+ events: .*named\.json\n$/)
  t.true(fs.existsSync(path.join(cwd, 'named.json')))
})

test('trace: an output that cannot be written fails before the script runs; afterwards, the script\'s end counts', async (t) => {
  const at = folder(t)
  const file = script(t, `
    console.log('it runs')
    require('node:fs').mkdirSync(${JSON.stringify(path.join(at, 'later'))})
    process.exitCode = 7`)
  for (const output of [path.join(at, 'missing', 'trace.json'), at]) {
    const { code, stdout, stderr } = await cli(['trace', '--output', output, file])
    t.deepEqual([code, stdout], [1, ''])
    t.true(stderr.startsWith('error: ') && stderr.includes(path.join(at)), stderr)
  }
  const later = await cli(['trace', '--output', path.join(at, 'later'), file])
  t.deepEqual([later.code, later.stdout], [7, 'it runs\n'])
  t.regex(later.stderr, /^error: EISDIR: /)
})

test('trace: processes that outlive the script, what they have half written, a folder that the script removes', async (t) => {
  const at = folder(t)
  const [finished, stderr] = [path.join(at, 'finished'), path.join(at, 'stderr')]
  // Ends when the trace's folder is gone.
  const other = script(t, `
    require(${JSON.stringify(ROOT)}).validate(new Uint8Array())
    const fs = require('node:fs')
    const folder = require('node:path').dirname(process.env.WASM_COMPILE_CACHE_TRACE)
    process.send('traced')
    process.disconnect()
    process.on('exit', () => fs.writeFileSync(${JSON.stringify(finished)}, ''))
    const wait = setInterval(() => fs.existsSync(folder) || clearInterval(wait), 20)
    setTimeout(() => process.exit(1), 30_000).unref()`)
  const file = script(t, `
    const fs = require('node:fs')
    const folder = require('node:path').dirname(process.env.WASM_COMPILE_CACHE_TRACE)
    fs.writeFileSync(folder + '/1.json', '{"traceEvents": [')
    const { fork } = require('node:child_process')
    const other = fork(${JSON.stringify(other)}, { detached: true, stdio: ['ignore', 'ignore', fs.openSync(${JSON.stringify(stderr)}, 'w'), 'ipc'] })
    other.once('message', () => {
      other.unref()
      if (process.argv[2] === 'remove') fs.rmSync(folder, { recursive: true })
      process.exitCode = 7
    })`)
  for (const args of [[], ['remove']]) {
    const ended = await cli(['trace', '--output', path.join(at, 'trace.json'), file, ...args])
    t.is(ended.code, 7, ended.stderr)
    while (!fs.existsSync(finished)) await setTimeout(20)
    fs.rmSync(finished)
    await setTimeout(200)
    t.is(fs.readFileSync(stderr, 'utf8'), '')
  }
})

// ── warm ────────────────────────────────────────────────────────────────────────────────────────────────────────────

test('warm: files, folders, file: URLs; what is stored, and what is not, and why', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const address = pathToFileURL(DECODER).href.replace('file', 'FILE')
  const outcomes = await cliJson(['warm', modules, address], { cache })
  t.deepEqual(outcomes.map(({ source, status }) => [path.relative(modules, source), status]), [
    [path.join('below', 'again.wasm'), 'stored'],
    ['decoder.wasm', 'same'],
    [TINY, 'skipped'],
    [path.relative(modules, DECODER), 'same'],
  ])
  t.is(outcomes[0].bytes, fs.statSync(DECODER).size)
  t.true(outcomes[0].artifactBytes > outcomes[0].bytes)
  t.is(outcomes[2].reason, 'smaller than 128 kB')
  t.is(entries(cache).length, 1)

  const { code, stdout, stderr } = await cli(['warm', '--min-size', '0', 'below/again.wasm', TINY], { cache, cwd: modules })
  t.is(code, 0)
  t.is(stderr, '', 'no bar without a terminal')
  t.regex(lines({ stdout })[0], /^cached +135 kB +.*again\.wasm/)
  t.regex(lines({ stdout })[1], /^stored +\d+ bytes +.*tiny\.wasm +\S+ \S+ of code, \S+ m?s$/)
  t.is(entries(cache).length, 2)
})

test('warm: a package stands for its modules', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const cwd = folder(t)
  const installed = path.join(cwd, 'node_modules/some-package')
  fs.mkdirSync(path.join(installed, 'dist'), { recursive: true })
  fs.mkdirSync(path.join(installed, 'node_modules/other'), { recursive: true })
  // One that hides its package.json.
  fs.writeFileSync(path.join(installed, 'package.json'), '{"name": "some-package", "exports": {".": "./index.js"}}')
  fs.copyFileSync(DECODER, path.join(installed, 'dist/module.wasm'))
  fs.copyFileSync(ENCODER, path.join(installed, 'node_modules/other/module.wasm'))
  fs.mkdirSync(path.join(cwd, 'below'))
  const outcomes = await cliJson(['warm', 'some-package'], { cache, cwd: path.join(cwd, 'below') })
  t.deepEqual(outcomes.map(({ source }) => source), [path.join(fs.realpathSync(installed), 'dist/module.wasm')])
  t.is(entries(cache).length, 1)
})

test('warm: what is in a package, whatever its "exports" say', async (t) => {
  const settings = { cache: copied(t), cwd: ROOT }
  for (const target of ['@jsquash/webp/codec/dec', '@jsquash/webp/codec/dec/webp_dec.wasm']) {
    const warmed = await cliJson(['warm', target], settings)
    t.deepEqual(warmed.map(({ source }) => source), [fs.realpathSync(DECODER)], target)
  }
  const [{ reason }] = await cliJson(['warm', '@jsquash/webp/missing'], { ...settings, code: 1 })
  t.regex(reason, /no package that is installed here/)
})

test('warm: links, those that lead round in circles too, and names in upper case', async (t) => {
  const at = fs.realpathSync(folder(t))
  const [outside, inside] = [path.join(at, 'outside'), path.join(at, 'inside')]
  for (const made of [outside, inside]) fs.mkdirSync(made)
  fs.copyFileSync(DECODER, path.join(outside, 'decoder.WASM'))
  const link = (to, name) => fs.symlinkSync(to, path.join(inside, name), fs.existsSync(to) && fs.statSync(to).isDirectory() ? 'junction' : 'file')
  link(outside, 'folder')
  link(outside, 'folder-again')
  link(inside, 'itself')
  if (process.platform !== 'win32') {
    link(path.join(outside, 'decoder.WASM'), 'decoder.wasm')
    link(path.join(at, 'missing'), 'nowhere.wasm')
    fs.symlinkSync('round.wasm', path.join(inside, 'round.wasm'))
  }
  const warmed = await cliJson(['warm', inside], { cache: copied(t) })
  const files = process.platform === 'win32' ? [] : ['decoder.wasm']
  t.deepEqual(warmed.map(({ source }) => path.relative(inside, source)), [...files, path.join('folder', 'decoder.WASM')])
})

test('warm: what cannot be compiled fails, and the rest is compiled', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const at = folder(t)
  const broken = path.join(at, 'broken.wasm')
  fs.writeFileSync(broken, 'not a module')
  fs.mkdirSync(path.join(at, 'empty'))
  const targets = [broken, path.join(at, 'missing.wasm'), path.join(at, 'empty'), 'ava', DECODER]
  const { code, stdout } = await cli(['warm', ...targets], { cache, cwd: ROOT })
  t.is(code, 1)
  const told = lines({ stdout })
  const about = (text) => told.find((line) => line.includes(text))
  t.regex(about('broken.wasm'), /^failed .*expected magic word/)
  t.regex(about('missing.wasm'), /^failed .*is no file, no folder, no address, and no package/)
  t.regex(about('empty'), /^failed .*has no \.wasm file/)
  t.regex(about('the package ava'), /^failed .*has no \.wasm file/)
  t.regex(about('webp_dec.wasm'), /^stored /)
})

test('warm: what this engine does not compile is skipped, for the feature', async (t) => {
  const file = path.join(folder(t), 'legacy.wasm')
  // (module (func try end)), in the legacy form.
  fs.writeFileSync(file, Buffer.from('0061736d01000000010401600000030201000a0701050006400b0b', 'hex'))
  const [outcome] = await cliJson(['warm', '--min-size', '0', file], { cache: path.join(folder(t), 'cache') })
  t.is(outcome.status, 'skipped')
  t.regex(outcome.reason, /legacy-exceptions/)
})

test('warm: an address that redirects, one with a fragment, and one that nobody answers', async (t) => {
  const respond = ({ url }) =>
    url === '/' ? { status: 302, headers: { location: '/module.wasm' } } : { headers: WASM, body: fs.readFileSync(DECODER) }
  const site = await origin(t, '', {}, respond)
  const [redirected, fragment] = [site.at('/').href, `${site.url.href}#x`]
  const outcomes = async (settings) => {
    const warmed = await cliJson(['warm', redirected, fragment], { cache: path.join(folder(t), 'cache'), ...settings })
    return warmed.map(({ source, status, code }) => [source, status, code])
  }
  t.deepEqual(await outcomes(), [[redirected, 'stored', undefined], [fragment, 'same', undefined]])
  t.deepEqual((await outcomes({ env: { WASM_COMPILE_CACHE_MAX_SIZE: '1k' }, code: 1 }))[0], [redirected, 'failed', 'ERR_WASM_CACHE_TOO_LARGE'])

  await site.stop()
  const [{ status, code, reason }] = await cliJson(['warm', site.url.href], { cache: folder(t), code: 1 })
  t.deepEqual([status, code], ['failed', 'ECONNREFUSED'])
  t.regex(reason, /^fetch failed: .*ECONNREFUSED/)
})

if (linux) {
  test('warm: Ctrl-C leaves the terminal as it was, tells what is done, and ends by the signal', async (t) => {
    const at = folder(t)
    const told = path.join(at, 'status')
    // Never answers; the decoder is stored by then.
    const site = await origin(t, '', {}, () => {
      process.kill(Number(fs.readFileSync(told, 'utf8')), 'SIGINT')
      return null
    })
    const args = [process.execPath, MAIN, 'warm', DECODER, site.url.href].map((one) => `'${one}'`).join(' ')
    const command = `sh -c "echo \\$\\$ > '${told}'; exec ${args}"; echo $? > '${told}'`
    const settings = { cache: path.join(at, 'cache'), env: { TERM: 'xterm' } }
    const { stdout } = await startOnTerminal(command, settings).ended
    t.regex(stdout, /^.*stored.*webp_dec\.wasm/m)
    t.is(stdout.lastIndexOf('\u001b[?25h') > stdout.lastIndexOf('\u001b[?25l'), true, 'the cursor is shown')
    t.is(fs.readFileSync(told, 'utf8'), `${128 + os.constants.signals.SIGINT}\n`)

    fs.rmSync(told)
    const { child, ended } = startCli(['warm', '--json', site.url.href, DECODER], settings)
    fs.writeFileSync(told, `${child.pid}`)
    const { stdout: json, signal } = await ended
    t.deepEqual([JSON.parse(json), signal], [[], 'SIGINT'])
  })
}

const NETWORK = linux && process.getuid() === 0

test('warm, then run without a network and without both compilers: hits, and nothing else', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const warmed = await cliJson(['warm', '@jsquash/webp'], { cache, cwd: ROOT })
  t.deepEqual(new Set(warmed.map(({ status }) => status)), new Set(['stored']))
  const only = { WASM_COMPILE_CACHE_ONLY: '1' }
  // Where no network namespace can be made, every connection and look-up of a name fails.
  const cut = script(t, `
    const refuse = () => { throw new Error('the network is cut off') }
    require('node:net').Socket.prototype.connect = refuse
    require('node:dns').lookup = refuse`)
  const env = { ...only, NODE_OPTIONS: `--require ${JSON.stringify(cut)}` }
  const under = NETWORK ? ['unshare', '--net'] : []
  const events = path.join(folder(t), 'trace.json')
  const hot = await cli(['trace', '--output', events, DRIVER], { cache, env, under })
  t.is(hot.code, 0, hot.stderr)
  const names = JSON.parse(fs.readFileSync(events, 'utf8')).traceEvents.map(({ name }) => name)
  t.deepEqual(names.sort(), ['compiledModule', 'compiledModule', 'moduleCacheHit', 'moduleCacheHit'])

  const { told: builtin } = await require('./support/programs.js').program(DRIVER, [])
  t.is(JSON.parse(hot.stdout).digest, builtin.digest)

  const cold = await cli(['run', DRIVER], { cache: path.join(folder(t), 'cold'), env, under })
  t.not(cold.code, 0, 'the compilers are cut off')
  t.regex(cold.stderr, /is not in the compile cache, and WASM_COMPILE_CACHE_ONLY=1/)
})

// ── Looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('dir prints where the cache is, and makes nothing', async (t) => {
  const cache = path.join(folder(t), 'cache')
  t.is((await cli(['dir'], { cache })).stdout, `${cache}\n`)
  t.deepEqual(await cliJson(['dir', '--directory', 'x'], { cwd: path.dirname(cache) }), { directory: path.join(fs.realpathSync(path.dirname(cache)), 'x') })
  t.false(fs.existsSync(cache))
})

test('ls lists what is cached', async (t) => {
  const listed = await cliJson(['ls'], { cache: filled })
  t.is(listed.length, 2)
  const decoder = listed.find(({ source }) => source === pathToFileURL(DECODER).href)
  t.like(decoder, { partition: '', wasmBytes: fs.statSync(DECODER).size, current: true })
  t.is(decoder.path, entries(filled).find((file) => file.includes(decoder.key)))
  const text = lines(await cli(['ls'], { cache: filled }))
  t.is(text.length, 3)
  t.regex(text[0], /^last used +wasm +code +hash +source$/)
  const line = text.find((one) => one.includes('webp_enc_simd.wasm'))
  t.regex(line, /^\d{4}-\d\d-\d\d \d\d:\d\d +337 kB +\S+ [kM]B +[0-9a-f]{12} +file:.*, partition p$/)
})

test('stats counts', async (t) => {
  const cache = copied(t)
  const { total, entries: count, bytes, limit } = await cliJson(['stats'], { cache })
  t.is(count, 2)
  t.true(bytes > 0 && bytes < limit)
  t.like(total, { writes: 2, hits: 0, misses: { absent: 2 } })
  const text = (await cli(['stats'], { cache })).stdout
  t.regex(text, /^entries +2, \S+ MB of \S+ [MG]B$/m)
  t.regex(text, /^misses +2 \(absent 2\)$/m)
  t.regex(text, /^writes +2, /m)
})

test('explain: hits, and misses with their reasons', async (t) => {
  const hit = await cliJson(['explain', DECODER], { cache: filled })
  t.like(hit, { outcome: 'hit', file: DECODER, bytes: fs.statSync(DECODER).size })
  t.is(hit.path, entries(filled).find((file) => file.includes(hit.key)))
  const text = await cli(['explain', DECODER], { cache: filled })
  t.is(text.code, 0)
  t.regex(text.stdout, /^hit {2}.*webp_dec\.wasm, 135 kB: it is in the cache\n/)

  const partition = await cliJson(['explain', ENCODER], { cache: filled, code: 1 })
  t.like(partition, { outcome: 'miss', reason: 'other-partition' })
  t.is(partition.near[0].partition, 'p')
  t.is((await cliJson(['explain', ENCODER, '--partition', 'p'], { cache: filled })).outcome, 'hit')
  const told = await cli(['explain', ENCODER], { cache: filled })
  t.is(told.code, 1)
  t.regex(told.stdout, /^miss {2}.*: it is stored for another partition only\n/)
  t.regex(told.stdout, /^ +partition: p there, '' here$/m)

  const tiny = path.join(modules, TINY)
  t.is((await cliJson(['explain', tiny], { cache: filled, code: 1 })).reason, 'too-small')
  t.is((await cliJson(['explain', tiny, '--min-size', '0'], { cache: filled, code: 1 })).reason, 'absent')
})

test('explain: files that are none, or no modules', async (t) => {
  const missing = await cli(['explain', 'missing.wasm'], { cache: filled })
  t.is(missing.code, 1)
  t.regex(missing.stderr, /^error: ENOENT: .*missing\.wasm/)
  const { error } = await cliJson(['explain', __filename], { cache: filled, code: 1 })
  t.is(error.code, 'ERR_WASM_INVALID_MODULE')
  t.regex(error.message, /is not a valid module: expected magic word/)
})

test('what another version has stored is listed, and explains a miss', async (t) => {
  const cache = copied(t)
  // The same files in the folder of an engine that we are not.
  const [version] = fs.readdirSync(cache).filter((name) => name.startsWith('v'))
  fs.renameSync(path.join(cache, version), path.join(cache, `${version}x`))
  const listed = await cliJson(['ls'], { cache })
  t.deepEqual(listed.map(({ current }) => current), [false, false])
  t.like(await cliJson(['explain', DECODER], { cache, code: 1 }), { outcome: 'miss', reason: 'other-engine' })
  t.regex((await cli(['ls'], { cache })).stdout, /webp_dec\.wasm, of another engine$/m)
})

// ── Mending ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('verify finds an entry that is not as it was written, and puts it aside', async (t) => {
  const cache = copied(t)
  t.like(await cliJson(['verify'], { cache }), { verified: 2, quarantined: [] })
  const [file] = entries(cache)
  const bytes = fs.readFileSync(file)
  bytes[bytes.length >> 1] ^= 1
  fs.writeFileSync(file, bytes)
  const { code, stdout } = await cli(['verify'], { cache })
  t.is(code, 1)
  t.regex(lines({ stdout })[0], /^quarantined .* \(seal-mismatch\)$/)
  t.regex(lines({ stdout })[1], /^1 verified, 1 quarantined$/)
  t.like(await cliJson(['verify'], { cache }), { verified: 1, quarantined: [] })
  t.is((await cliJson(['stats'], { cache })).quarantined.files, 1)
})

test('prune: by size and by age, least recently used first', async (t) => {
  const cache = copied(t)
  t.deepEqual(await cliJson(['prune'], { cache }), { files: 0, bytes: 0 })
  t.deepEqual(await cliJson(['prune', '--max-size', '1G', '--max-age', '30d'], { cache }), { files: 0, bytes: 0 })
  const hour = new Date(Date.now() - 3600_000)
  const { key } = (await cliJson(['ls'], { cache })).find(({ partition }) => partition === '')
  const old = fs.readdirSync(cache, { recursive: true }).filter((name) => name.includes(key))
  for (const name of old) fs.utimesSync(path.join(cache, name), hour, hour)
  t.deepEqual((await cliJson(['ls'], { cache })).map(({ partition }) => partition), ['p', ''], 'last used first')
  const { code, stdout } = await cli(['prune', '--max-age', '30m'], { cache })
  t.is(code, 0)
  t.regex(stdout, /^\d files? removed, \S+ [kM]B$/m)
  t.deepEqual((await cliJson(['ls'], { cache })).map(({ partition }) => partition), ['p'])
  await cliJson(['prune', '--max-size', '1k'], { cache })
  t.deepEqual(await cliJson(['ls'], { cache }), [])
})

test('clear removes everything', async (t) => {
  const cache = copied(t)
  const removed = await cliJson(['clear'], { cache })
  t.true(removed.files >= 2 && removed.bytes > 0)
  t.deepEqual(entries(cache), [])
  t.regex((await cli(['clear'], { cache })).stdout, /^0 files removed, 0 bytes$/m)
})

// ── doctor ──────────────────────────────────────────────────────────────────────────────────────────────────────────

test('doctor: all is well', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const { ok, checks } = await cliJson(['doctor'], { cache })
  t.true(ok)
  const detail = (name) => checks.find((check) => check.name === name).detail
  t.regex(detail('Node'), new RegExp(`^${process.versions.node}, V8`))
  t.regex(detail('engine'), /wasmer \d/)
  t.regex(detail('fallback'), /tail-call/)
  t.true(detail('directory').startsWith(`${cache}, mode 0700`))
  t.regex(detail('space'), /^0 entries, 0 bytes of .*; .* free on the disk$/)
  t.deepEqual(entries(cache), [], 'nothing stays behind')
  const { code, stdout } = await cli(['doctor'], { cache })
  t.is(code, 0)
  t.regex(stdout, /^ok +executable mappings +code that one process stored, another mapped and ran$/m)
})

test('doctor: a directory that others may write to, and a file in it', async (t) => {
  if (process.platform === 'win32') return t.pass('Windows has no such modes')
  const cache = copied(t)
  fs.chmodSync(path.join(cache, fs.readdirSync(cache)[0]), 0o777)
  const inside = await cliJson(['doctor'], { cache, code: 1 })
  t.deepEqual(inside.checks.filter(({ ok }) => ok === false).map(({ name }) => name), ['directory'])
  fs.chmodSync(cache, 0o777)
  const { code, stdout } = await cli(['doctor'], { cache })
  t.is(code, 1)
  t.regex(stdout, /^wrong +directory +.*others may write to .*Advice: /m)
  t.regex(stdout, /^- +executable mappings +not looked at/m)
})

test('doctor: memories without guards, a cache that is off, a limit that is none', async (t) => {
  const wrong = async (env) => {
    const { checks } = await cliJson(['doctor'], { cache: folder(t), env, code: 1 })
    return checks.filter(({ ok }) => ok === false).map(({ name }) => name)
  }
  t.deepEqual(await wrong({ NODE_OPTIONS: '--disable-wasm-trap-handler' }), ['guard regions'])
  t.deepEqual(await wrong({ WASM_DISABLE_COMPILE_CACHE: '1' }), ['directory'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_SIZE: 'much' }), ['environment'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_SIZE: '1M' }), ['space'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_ENTRY_SIZE: 'much' }), ['environment'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_ENTRY_SIZE: '1' }), ['space'])
})

test('doctor: nothing stays behind of one that is interrupted, nor of one that was killed', async (t) => {
  const cache = copied(t)
  const own = () => fs.readdirSync(cache).filter((name) => name.includes('doctor'))
  const { child, ended } = startCli(['doctor'], { cache })
  while (own().length === 0 && child.exitCode === null) await setImmediate()
  const [left] = own()
  child.kill()
  if (process.platform !== 'win32') {
    t.like(await ended, { code: null, signal: 'SIGTERM' })
    t.deepEqual(own(), [])
  }
  await ended

  for (const name of [left, `${left}-young`]) fs.mkdirSync(path.join(cache, name, 'below'), { recursive: true, mode: 0o700 })
  const old = new Date(Date.now() - 2 * 3600_000)
  fs.utimesSync(path.join(cache, left), old, old)
  await cliJson(['doctor'], { cache })
  t.deepEqual(own(), [`${left}-young`])
})

test('doctor: locks that cannot be had', async (t) => {
  const cache = copied(t)
  const [lock] = fs.readdirSync(cache).filter((name) => name.endsWith('.lock'))
  fs.rmSync(path.join(cache, lock))
  fs.mkdirSync(path.join(cache, lock), { mode: 0o700 })
  const { checks } = await cliJson(['doctor'], { cache, code: 1 })
  t.deepEqual(checks.filter(({ ok }) => ok === false).map(({ name }) => name), ['locks'])
})

if (linux) {
  test('doctor: a file system from which nothing may be executed', async (t) => {
    const disk = folder(t)
    // In a mount namespace of its own, which ends with the command, and for users who are not root with a user namespace.
    const mount = 'mount -t tmpfs -o noexec,mode=0700 none "$0" && exec "$@"'
    const under = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, disk]
    const { code, stdout, stderr } = await cli(['doctor', '--directory', path.join(disk, 'cache')], { under })
    if (stdout === '') {
      t.log(`no file system can be mounted here: ${stderr.trim()}`)
      t.regex(stderr, /^(unshare|mount): /)
      return
    }
    t.is(code, 1, stderr)
    t.regex(stdout, /^wrong +executable mappings +code that one process stored, another copied and ran: no memory is shared\. Advice: is the file system mounted noexec\?$/m)
    t.is(stdout.match(/^wrong/gm).length, 1)
  })
}
