'use strict'
// Archives as users ship them: made by one user's processes, imported by another's, run hot.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')

const { cache } = require('..')
const { digest, forge, keyPair, unpack } = require('./support/archives.js')
const { cli, cliJson, leftOver, startCli } = require('./support/cli.js')
const { HOT, entries, environment, files, folder, run, story } = require('./support/commands.js')
const { program } = require('./support/programs.js')
const { isStress } = require('./support/stress.js')
const { machine, padded } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const ROOT = path.join(__dirname, '..')
const MAIN = path.join(ROOT, require('../package.json').bin['wasm-compile-cache'])
const DRIVER = path.join(__dirname, 'packages/webp.js')

const ONLY = { WASM_COMPILE_CACHE_ONLY: '1' }

/** A cache with the modules of @jsquash/webp and one of ours, an archive of it, and the keys. Not to be changed. */
let made

test.before(async () => {
  const at = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-shipping-'))
  const [home, archive, module] = ['home', 'cache.tar', 'machine.wasm'].map((name) => path.join(at, name))
  made = { at, home, archive, module, ...keyPair(at) }
  fs.writeFileSync(module, padded(await machine(), 140_000))
  await cliJson(['warm', module, '@jsquash/webp'], { cache: home, cwd: ROOT })
  await cliJson(['export', archive, '--sign', made.privateKey], { cache: home })
})
test.after.always(() => made && remove(made.at))

/** The same, with a folder of the test's own. */
const shipped = (t) => ({ ...made, at: folder(t) })

/** The files below `cache` in the folder of that name of its version. */
const records = (cache, name) =>
  files(cache)
    .filter((file) => path.basename(path.dirname(file)) === name)
    .map((file) => path.basename(file))

test('a cache with another key imports the archive, and every kind of source runs hot', async (t) => {
  const { at, home, archive, module, publicKey } = shipped(t)
  const other = path.join(at, 'other')
  const report = await cliJson(['import', archive, '--key', publicKey], { cache: other })
  t.is(report.imported.length, 4)
  t.is(entries(other).length, 4)
  t.deepEqual(records(other, 'heads'), records(home, 'heads'), 'streams find out that they need no baseline')
  t.true(records(other, 'heads').length >= 4)
  for (const file of entries(home)) {
    const imported = entries(other).find((one) => path.basename(one) === path.basename(file))
    t.false(fs.readFileSync(imported).equals(fs.readFileSync(file)), 'it is sealed with the key of its user')
  }

  const calls = [['run', 7]]
  const builtin = (await WebAssembly.instantiate(fs.readFileSync(module), { env: { tick: (x) => x + 1 } })).instance.exports.run(7)
  for (const as of ['bytes', 'sync', 'stream', 'response', 'file']) {
    for (const env of [ONLY, {}]) {
      const hot = await run({ modules: [{ file: module, as, calls }] }, { cache: other, env })
      t.deepEqual(story(hot), HOT, as)
      t.is(hot.modules[0].tier, 'optimized', as)
      t.deepEqual(hot.modules[0].results, [builtin], as)
    }
  }
  const { told } = await program(DRIVER, [])
  const hot = await cli(['run', '--json', DRIVER], { cache: other, env: ONLY })
  t.is(JSON.parse(hot.stdout).digest, told.digest)
  t.deepEqual(
    JSON.parse(hot.stderr).modules.map(({ outcome }) => outcome),
    ['hit', 'hit']
  )
  t.like(await cliJson(['verify'], { cache: other }), { verified: 4, quarantined: [] })

  const cold = await cli(['run', DRIVER], { cache: path.join(at, 'cold'), env: ONLY })
  t.not(cold.code, 0, 'without the import it does not run')
})

test('the files of another cache are no entries of this one: it takes an import', async (t) => {
  const { at, home, archive, module, publicKey } = shipped(t)
  const other = path.join(at, 'other')
  await cliJson(['import', archive, '--key', publicKey], { cache: other })
  for (const file of entries(other)) {
    fs.copyFileSync(
      entries(home).find((one) => path.basename(one) === path.basename(file)),
      file
    )
  }
  const { events } = await run({ modules: [{ file: module, calls: [['run', 7]] }] }, { cache: other })
  t.is(events.find(({ name }) => name === 'moduleCacheInvalid').reason, 'seal-mismatch')
})

test('the command line tells what it does, and ends with the right code', async (t) => {
  const { at, home, archive, privateKey, publicKey } = shipped(t)
  const [other, unsigned] = ['other', 'unsigned.tar'].map((name) => path.join(at, name))
  const exported = await cli(['export', unsigned], { cache: home })
  t.is(exported.code, 0)
  t.regex(exported.stdout, /^4 entries exported, \S+ MB, not signed: .*unsigned\.tar\n$/)
  const exporting = (args, cache) => cliJson(['export', ...args], { cache, code: 1 })
  const nothing = path.join(at, 'nothing.tar')
  t.is((await exporting([nothing, '--partition', 'p'], home)).error.code, 'ERR_WASM_ARCHIVE_NO_ENTRY')
  t.is((await exporting([nothing], path.join(at, 'nowhere'))).error.code, 'ERR_WASM_ARCHIVE_NO_ENTRY')
  t.false(fs.existsSync(nothing))
  t.false(fs.existsSync(path.join(at, 'nowhere')), 'an export makes no cache')
  await forge(archive, nothing, privateKey, (manifest, parts) => {
    for (const name of Object.keys(parts)) delete parts[name]
    return { ...manifest, entries: [] }
  })
  t.is((await cli(['import', nothing, '--trust'], { cache: other })).stdout, 'The archive has no entries.\n')

  for (const [args, message] of [
    [[archive], /name the key that the archive is signed with \(--key\), or use --trust/],
    [[archive, '--key', publicKey, '--trust'], /use --key or --trust, not both/],
    [[], /missing required argument 'archive'/],
  ]) {
    const { code, stderr } = await cli(['import', ...args], { cache: other })
    t.is(code, 2)
    t.regex(stderr, message)
  }
  const { error } = await cliJson(['import', unsigned, '--key', publicKey], { cache: other, code: 1 })
  t.is(error.code, 'ERR_WASM_ARCHIVE_UNSIGNED')
  t.true(error.message.startsWith(unsigned))
  t.deepEqual(entries(other), [])

  const imported = await cli(['import', archive, '--trust'], { cache: other })
  t.is(imported.code, 0)
  t.is(imported.stdout.match(/^imported {2}[0-9a-f]{12} {2}file:\S+\.wasm$/gm).length, 4, imported.stdout)
  t.is((await cli(['import', archive, '--key', publicKey], { cache: other })).stdout.match(/^present /gm).length, 4)

  const [damaged] = entries(other)
  const bytes = fs.readFileSync(damaged)
  bytes[100] ^= 1
  fs.writeFileSync(damaged, bytes)
  const partial = await cli(['export', path.join(at, 'partial.tar')], { cache: other })
  t.is(partial.code, 0)
  t.regex(partial.stdout, /^3 entries exported/)
  t.is(partial.stderr, `left out: ${damaged} is damaged\nwasm-compile-cache verify quarantines damaged entries\n`)

  const foreign = await forge(archive, path.join(at, 'foreign.tar'), privateKey, (manifest) => {
    for (const { engine } of manifest.entries) engine.cpu += ',avx1024'
  })
  const skipped = await cli(['import', foreign, '--key', publicKey], { cache: path.join(at, 'third') })
  t.is(skipped.code, 0, 'such modules are compiled')
  t.is(skipped.stdout.match(/^skipped .* made for other CPU features: avx1024 only there$/gm).length, 4)
  t.deepEqual(entries(path.join(at, 'third')), [])
})

test('caches that cannot be written, are off, or too small', async (t) => {
  const { at, home, archive, publicKey } = shipped(t)
  const fails = async (args, settings) => (await cliJson(args, { ...settings, code: 1 })).error
  const off = { cache: home, env: { WASM_DISABLE_COMPILE_CACHE: '1' } }
  t.is((await fails(['import', archive, '--key', publicKey], off)).code, 'ERR_WASM_CACHE_DISABLED')
  t.is((await fails(['export', archive], off)).code, 'ERR_WASM_CACHE_DISABLED')

  const script = path.join(at, 'script.js')
  fs.writeFileSync(
    script,
    `
    const { cache } = require(${JSON.stringify(ROOT)})
    const [mode, archive, key] = process.argv.slice(2)
    if (mode !== 'off') cache.enable({ mode })
    const codes = [() => cache.import(archive, { key }), () => cache.export(archive + '.2')]
    Promise.all(codes.map((call) => call().then(() => 'done', ({ code }) => code))).then((all) => console.log(JSON.stringify(all)))`
  )
  const told = async (mode, env) => {
    const { stdout } = await promisify(execFile)(process.execPath, [script, mode, archive, publicKey], {
      env: environment({ WASM_COMPILE_CACHE: home, ...env }),
    })
    return JSON.parse(stdout)
  }
  t.deepEqual(await told('read-only', {}), ['ERR_WASM_CACHE_READ_ONLY', 'done'])
  t.deepEqual(await told('off', { WASM_DISABLE_COMPILE_CACHE: '1' }), ['ERR_WASM_CACHE_DISABLED', 'ERR_WASM_CACHE_DISABLED'])
  t.true(fs.readFileSync(`${archive}.2`).length > 1e6)

  const small = path.join(at, 'small')
  const limited = await fails(['import', archive, '--key', publicKey], { cache: small, env: { WASM_COMPILE_CACHE_MAX_SIZE: '1M' } })
  t.is(limited.code, 'ERR_WASM_ARCHIVE_NOT_STORED')
  t.regex(limited.message, /it has \d+ bytes for this machine, more than the 1048576 that the cache may hold$/)
  const entry = await fails(['import', archive, '--key', publicKey], {
    cache: small,
    env: { WASM_COMPILE_CACHE_MAX_ENTRY_SIZE: '1k' },
  })
  t.is(entry.code, 'ERR_WASM_ARCHIVE_NOT_STORED')
  t.regex(entry.message, /the entry [0-9a-f]{64} could not be stored: /)
  t.deepEqual(entries(small), [])
})

test('an import that is killed, wherever: no litter after a sweep, every entry as it was, and the next one completes it', async (t) => {
  const { archive, module, publicKey } = shipped(t)
  // This process looks at the same cache.
  const other = process.env.WASM_COMPILE_CACHE
  const started = ['import', archive, '--key', publicKey]
  // The folders have to be there to be watched.
  const [first] = (await cliJson(started, { cache: other })).imported
  const watched = path.dirname(first.path)
  const step = isStress ? 2 : 8
  let killed = 0
  for (let change = 1; change <= 48; change += step) {
    cache.clear()
    const { child, ended } = startCli(started, { cache: other })
    let seen = 0
    const watcher = fs.watch(watched, () => {
      if (++seen === change) child.kill('SIGKILL')
    })
    const { signal, stderr, code } = await ended
    watcher.close()
    if (signal === 'SIGKILL') killed++
    else t.is(code, 0, stderr)

    t.deepEqual((await cache.verify()).quarantined, [])
    t.deepEqual(await leftOver(other), [], `killed at change ${change}`)
  }
  t.true(killed >= 24 / step, `${killed}`)
  const { imported, present } = await cliJson(started, { cache: other })
  t.is(imported.length + present.length, 4)
  t.like(await cache.verify(), { verified: 4, quarantined: [] })
  t.deepEqual(story(await run({ modules: [{ file: module }] }, { cache: other, env: ONLY })), HOT)
})

// What /proc tells.
if (process.platform === 'linux') {
  test('an archive is larger than the memory that exporting and importing it take', async (t) => {
    const { at, home, archive, privateKey, publicKey } = shipped(t)
    const script = path.join(at, 'script.js')
    const [count, size] = [16, 24 * 2 ** 20]
    // Keys of modules that there are none of; nobody looks at an image before it is mapped.
    fs.writeFileSync(
      script,
      `
      const { native } = require(${JSON.stringify(path.join(ROOT, 'dist/engine.js'))}).load('process/native.js')
      const { readOptions } = require(${JSON.stringify(path.join(ROOT, 'dist/engine.js'))}).load('compile/options.js')
      const hashes = Array.from({ length: ${count} }, (_, index) => index.toString(16).padStart(64, '0'))
      console.log(JSON.stringify(hashes.map((hash) => [hash, native.cacheExplain(hash, 200000, readOptions({}, '').native).key])))`
    )
    const { stdout } = await promisify(execFile)(process.execPath, [script], { env: environment({ WASM_COMPILE_CACHE: home }) })
    const large = path.join(at, 'large.tar')
    const sha256 = digest(Buffer.alloc(size, 7))
    await forge(archive, large, privateKey, (manifest, parts) => {
      const [model] = manifest.entries
      const meta = parts[`${model.key}.meta`]
      for (const name of Object.keys(parts)) delete parts[name]
      const image = Buffer.alloc(size, 7)
      manifest.entries = JSON.parse(stdout).map(([hash, key]) => {
        Object.assign(parts, { [`${key}.image`]: image, [`${key}.meta`]: meta })
        return { ...model, hash, key, image: { bytes: size, sha256 } }
      })
    })
    const peaks = path.join(at, 'peaks.js')
    // The peak that resourceUsage() tells of is also that of whoever started the process.
    fs.writeFileSync(
      peaks,
      `
      const { cache } = require(${JSON.stringify(ROOT)})
      const [call, ...args] = JSON.parse(process.argv[2])
      const peak = () => /^VmHWM:\\s+(\\d+) kB$/m.exec(require('node:fs').readFileSync('/proc/self/status', 'utf8'))[1] * 1024
      const before = peak()
      cache[call](...args).then(() => console.log(peak() - before))`
    )
    const env = environment({ WASM_COMPILE_CACHE: path.join(at, 'other'), WASM_COMPILE_CACHE_MAX_SIZE: '1G' })
    for (const call of [
      ['import', large, { key: publicKey }],
      ['export', path.join(at, 'again.tar'), { sign: privateKey }],
    ]) {
      const { stdout: grown } = await promisify(execFile)(process.execPath, [peaks, JSON.stringify(call)], { env })
      t.log(`${call[0]}: ${grown} bytes for an archive of ${count * size}`)
      t.true(Number(grown) < count * size, `${call[0]}: ${grown} bytes for an archive of ${count * size}`)
    }
    t.deepEqual((await unpack(path.join(at, 'again.tar'))).length, 2 + 2 * count)
  })
}

// ── docs/shipping.md ────────────────────────────────────────────────────────────────────────────────────────────────

const page = fs.readFileSync(path.join(ROOT, 'docs/shipping.md'), 'utf8')

/** The page's block in this language. */
const blockOf = (language) => new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\`$`, 'm').exec(page)[1]

test('docs/shipping.md: a job of CI warms and exports, an image imports, its program starts hot', async (t) => {
  const at = folder(t)
  const [ci, image, bin] = ['ci', 'image', 'bin'].map((name) => path.join(at, name))
  const { privateKey, publicKey } = keyPair(at)
  fs.mkdirSync(path.join(ci, 'node_modules/@jsquash'), { recursive: true })
  fs.mkdirSync(bin)
  fs.writeFileSync(
    path.join(bin, 'npx'),
    `#!/bin/sh\nshift\nexec ${JSON.stringify(process.execPath)} ${JSON.stringify(MAIN)} "$@"\n`,
    { mode: 0o755 }
  )
  fs.cpSync(path.join(ROOT, 'node_modules/@jsquash/webp'), path.join(ci, 'node_modules/@jsquash/webp'), { recursive: true })
  // Without the checkout's node_modules, which no installation has.
  const installed = path.join(ci, 'node_modules/wasm-compile-cache')
  fs.mkdirSync(installed)
  fs.copyFileSync(path.join(ROOT, 'package.json'), path.join(installed, 'package.json'))
  for (const file of ['index.js', 'register.js']) fs.symlinkSync(path.join(ROOT, file), path.join(installed, file))
  // The modules come from the project's packages, as in the driver.
  fs.writeFileSync(path.join(ci, 'app.js'), `require(${JSON.stringify(DRIVER)})`)
  fs.copyFileSync(publicKey, path.join(ci, 'public.pem'))

  const shell = (command, cwd, env) => {
    const all = environment({
      WASM_COMPILE_CACHE: undefined,
      XDG_CACHE_HOME: undefined,
      ...env,
      PATH: `${bin}:${process.env.PATH}`,
    })
    return promisify(execFile)('bash', ['-e', '-o', 'pipefail', '-c', command], { cwd, env: all })
  }
  const commands = (text, pattern) => [...text.matchAll(pattern)].map(([, command]) => command)
  const steps = commands(blockOf('yaml'), /^ *- run: (npx wasm-compile-cache .*)$/gm)
  t.is(steps.length, 2)
  for (const step of steps) {
    await shell(step, ci, { HOME: path.join(at, 'runner'), SIGNING_KEY: fs.readFileSync(privateKey, 'utf8') })
  }

  // COPY . .
  fs.cpSync(ci, image, { recursive: true, verbatimSymlinks: true })
  const dockerfile = blockOf('dockerfile')
  const runs = commands(dockerfile, /^RUN (npx wasm-compile-cache .*)$/gm)
  t.is(runs.length, 1)
  const home = { HOME: path.join(at, 'node') }
  for (const command of runs) await shell(command, image, home)
  const [node, ...args] = JSON.parse(/^CMD (\[.*\])$/m.exec(dockerfile)[1])
  t.is(node, 'node')
  const env = environment({ WASM_COMPILE_CACHE: undefined, XDG_CACHE_HOME: undefined, ...home, ...ONLY })
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: image, env })
  t.is(JSON.parse(stdout).digest, (await program(DRIVER, [])).told.digest)
})
