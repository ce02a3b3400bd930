'use strict'
// The command line as a black box: real caches, real modules, text and JSON. `warm` and `doctor` have files of their own
// (cli-warm.test.js, cli-doctor.test.js), and so have `export` and `import` (archive-shipping.test.js).

const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const test = require('ava')

const { MAIN, cli, cliJson, startCli, startOnTerminal, startProgram } = require('./support/cli.js')
const { entries, folder } = require('./support/commands.js')
const { small } = require('./support/mounts.js')
const { answer, padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')
const { remove } = require('./support/remove.js')

const ROOT = path.join(__dirname, '..')
const WEBP = path.join(ROOT, 'node_modules/@jsquash/webp/codec')
const DECODER = path.join(WEBP, 'dec/webp_dec.wasm')
const ENCODER = path.join(WEBP, 'enc/webp_enc_simd.wasm')
const COMMANDS = ['run', 'warm', 'ls', 'stats', 'verify', 'prune', 'clear', 'dir', 'explain', 'export', 'import', 'trace', 'doctor']

const linux = process.platform === 'linux'

/** A cache that holds the decoder and the encoder, the latter in the partition "p". Not to be changed. */
let filled

test.before(async () => {
  filled = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-cli-'))
  await cliJson(['warm', DECODER], { cache: filled })
  await cliJson(['warm', ENCODER, '--partition', 'p'], { cache: filled })
})
test.after.always(() => filled && remove(filled))

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

test("the version is the package's", async (t) => {
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
    const shell = (command) =>
      startProgram(['bash', '-c', command.replace('B', `'${process.execPath}' '${MAIN}'`)], { cache: filled }).ended
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
    t.deepEqual(
      checks.filter(({ ok }) => ok === false).map(({ name }) => name),
      ['directory']
    )
    t.regex(checks.find(({ name }) => name === 'directory').detail, /can only be read$/)
  })
}

test('--directory counts more than the environment', async (t) => {
  const [cache, directory] = [path.join(folder(t), 'cache'), copied(t)]
  for (const [name, ...args] of [['ls'], ['stats'], ['explain', DECODER], ['verify'], ['dir'], ['doctor']]) {
    const told = await cliJson([name, '--directory', directory, ...args], { cache })
    t.true(
      JSON.stringify(told).includes(name === 'stats' || name === 'verify' ? ':2' : JSON.stringify(directory).slice(1, -1)),
      name
    )
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
  const file = script(
    t,
    `
    console.log(JSON.stringify([process.argv.slice(2), require.main === module, process.env.WASM_COMPILE_CACHE]))
    console.log(WebAssembly === require(${JSON.stringify(ROOT)}).WebAssembly)`
  )
  const { code, stdout, stderr } = await cli(['run', '--directory', 'relative', file, '--json', '-x', '--', 'y'], {
    cwd: folder(t),
  })
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

test('run: a script that ends by a signal', async (t) => {
  for (const signal of ['SIGKILL', 'SIGTERM', 'SIGABRT']) {
    const ended = await cli(['run', script(t, `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`)])
    t.like(ended, { code: null, signal }, signal)
  }
})

test('run: a signal to the command is one to the script, whose answer counts', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR2']) {
    const file = script(
      t,
      `
      setInterval(() => {}, 1000)
      process.on('${signal}', () => process.exit(9))
      console.log('ready')`
    )
    const { child, ended } = startCli(['run', file], { detached: true })
    await once(child.stdout, 'data')
    child.kill(signal)
    t.like(await ended, { code: 9, signal: null }, signal)
  }
})

if (linux) {
  test('run: what is typed at the terminal reaches the script once, even if its standard input is none', async (t) => {
    const file = script(
      t,
      `
      let count = 0
      process.on('SIGINT', () => {
        count++
        setTimeout(() => process.exit(10 + count), 300)
      })
      setTimeout(() => {}, 10_000)
      // As the terminal does it: to its foreground group.
      require('node:child_process').spawn('kill', ['-s', 'INT', '--', '0'], { stdio: 'inherit' })`
    )
    // With `exec`, no shell stays in the group to answer the signal as well.
    const command = `exec '${process.execPath}' '${MAIN}' run '${file}' < /dev/null`
    t.like(await startOnTerminal(command).ended, { code: 11 })
  })
}

test('run --json tells on stderr how each module came about', async (t) => {
  const cache = copied(t)
  const file = script(
    t,
    `
    const { readFileSync } = require('node:fs')
    const all = ${JSON.stringify([DECODER, ENCODER])}.map((file) => WebAssembly.compile(readFileSync(file)))
    Promise.all(all).then(() => console.log('compiled'))`
  )
  const { code, stdout, stderr } = await cli(['run', '--json', file], { cache })
  t.is(code, 0, stderr)
  t.is(stdout, 'compiled\n')
  const told = JSON.parse(stderr)
  t.like(told, { code: 0, signal: null })
  const outcome = (module) => told.modules.find(({ bytes }) => bytes === fs.statSync(module).size).outcome
  t.is(outcome(DECODER), 'hit')
  t.is(outcome(ENCODER), 'compiled', 'it is in another partition')
})

test('run --wait ends when all is known and stored, whoever would wait for a process that is left behind', async (t) => {
  const cache = folder(t)
  const [theirs, ours] = ['refused', 'taken'].map((name) => path.join(folder(t), `${name}.wasm`))
  const body = (call) => `(module (func $f (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
    (func (export "run") (param i32) (result i32) (${call} $f (local.get 0))))`
  fs.writeFileSync(theirs, padded(await assemble(body('return_call')), 131072))
  fs.writeFileSync(ours, padded(await assemble(body('call')), 131072))
  const named = script(
    t,
    `require(${JSON.stringify(ROOT)}).compile(require('node:fs').readFileSync(${JSON.stringify(DECODER)})).then(() => process.exit(3))`
  )
  const file = script(
    t,
    `
    for (const file of ${JSON.stringify([theirs, ours])}) {
      const module = new WebAssembly.Module(require('node:fs').readFileSync(file))
      console.log(new WebAssembly.Instance(module).exports.run(1))
    }`
  )
  const settings = { cache, env: { WASM_COMPILE_CACHE_ENGINE: 'auto' } }
  const cold = await cli(['run', '--wait', file], settings)
  t.is(cold.code, 0, cold.stderr)
  t.is(cold.stdout, '2\n2\n')
  t.regex(cold.stderr, /^the built-in engine: +tail.call.*; .* of V8's code are kept/m)
  t.regex(cold.stderr, /^the built-in engine: +V8 compiled for \d+ ms only/m)
  t.deepEqual(fs.readdirSync(path.join(cache, 'seen')), [])
  const hot = await cli(['run', '--json', '--wait', file], settings)
  t.is(hot.stdout, cold.stdout)
  const { modules, verdicts } = JSON.parse(hot.stderr)
  t.deepEqual([modules.map(({ outcome }) => outcome), verdicts], [['hit'], []])
  // Of the named exports, what the optimizing tier was not done with.
  t.is((await cli(['run', '--wait', named], { cache })).code, 3)
  t.is((await cli(['explain', DECODER], { cache })).code, 0)
})

test('trace writes a Chrome trace of the script and of the processes it starts', async (t) => {
  const cwd = folder(t)
  const child = script(
    t,
    `
    require(${JSON.stringify(ROOT)}).compile(require('node:fs').readFileSync(${JSON.stringify(DECODER)}))`
  )
  const file = script(
    t,
    `
    WebAssembly.compile(require('node:fs').readFileSync(${JSON.stringify(DECODER)}))
    require('node:child_process').spawnSync(process.execPath, [${JSON.stringify(child)}])
    console.log('done')`
  )
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

test("trace: an output that cannot be written fails before the script runs; afterwards, the script's end counts", async (t) => {
  const at = folder(t)
  const file = script(
    t,
    `
    console.log('it runs')
    require('node:fs').mkdirSync(${JSON.stringify(path.join(at, 'later'))})
    process.exitCode = 7`
  )
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
  const finished = path.join(at, 'finished')
  // Ends when the trace's folder is gone; until then it keeps our pipe open, which `cli` waits for.
  const other = script(
    t,
    `
    require(${JSON.stringify(ROOT)}).validate(new Uint8Array())
    const fs = require('node:fs')
    const folder = require('node:path').dirname(process.env.WASM_COMPILE_CACHE_TRACE)
    process.send('traced')
    process.disconnect()
    process.on('exit', (code) => fs.writeFileSync(${JSON.stringify(finished)}, String(code)))
    const wait = setInterval(() => fs.existsSync(folder) || clearInterval(wait), 20)
    setTimeout(() => process.exit(1), 30_000).unref()`
  )
  const file = script(
    t,
    `
    const fs = require('node:fs')
    const folder = require('node:path').dirname(process.env.WASM_COMPILE_CACHE_TRACE)
    fs.writeFileSync(folder + '/1.json', '{"traceEvents": [')
    const { fork } = require('node:child_process')
    const other = fork(${JSON.stringify(other)}, { detached: true, stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
    other.once('message', () => {
      other.unref()
      if (process.argv[2] === 'remove') fs.rmSync(folder, { recursive: true })
      process.exitCode = 7
    })`
  )
  for (const args of [[], ['remove']]) {
    const ended = await cli(['trace', '--output', path.join(at, 'trace.json'), file, ...args])
    t.is(ended.code, 7, ended.stderr)
    t.regex(ended.stderr, /^\d+ events: .*trace\.json\n$/)
    t.is(fs.readFileSync(finished, 'utf8'), '0')
    fs.rmSync(finished)
  }
})

// ── Looking ─────────────────────────────────────────────────────────────────────────────────────────────────────────

test('dir prints where the cache is, and makes nothing', async (t) => {
  const cache = path.join(folder(t), 'cache')
  t.is((await cli(['dir'], { cache })).stdout, `${cache}\n`)
  t.deepEqual(await cliJson(['dir', '--directory', 'x'], { cwd: path.dirname(cache) }), {
    directory: path.join(fs.realpathSync(path.dirname(cache)), 'x'),
  })
  t.false(fs.existsSync(cache))
})

test('ls lists what is cached', async (t) => {
  const listed = await cliJson(['ls'], { cache: filled })
  t.is(listed.length, 2)
  const decoder = listed.find(({ source }) => source === pathToFileURL(DECODER).href)
  t.like(decoder, { partition: '', wasmBytes: fs.statSync(DECODER).size, current: true })
  t.is(
    decoder.path,
    entries(filled).find((file) => file.includes(decoder.key))
  )
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
  t.is(
    hit.path,
    entries(filled).find((file) => file.includes(hit.key))
  )
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

  const tiny = path.join(folder(t), 'tiny.wasm')
  fs.writeFileSync(tiny, await answer(42))
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
  t.deepEqual(
    listed.map(({ current }) => current),
    [false, false]
  )
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
  t.deepEqual(
    (await cliJson(['ls'], { cache })).map(({ partition }) => partition),
    ['p', ''],
    'last used first'
  )
  const { code, stdout } = await cli(['prune', '--max-age', '30m'], { cache })
  t.is(code, 0)
  t.regex(stdout, /^\d files? removed, \S+ [kM]B$/m)
  t.deepEqual(
    (await cliJson(['ls'], { cache })).map(({ partition }) => partition),
    ['p']
  )
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
