'use strict'
// `warm` on the command line: what it takes, what it stores, and that a run after it needs nothing else.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const test = require('ava')

const { MAIN, cli, cliJson, startCli, startOnTerminal } = require('./support/cli.js')
const { entries, folder } = require('./support/commands.js')
const { WASM, origin } = require('./support/origin.js')
const { program } = require('./support/programs.js')
const { answer } = require('./support/wat.js')

const ROOT = path.join(__dirname, '..')
const WEBP = path.join(ROOT, 'node_modules/@jsquash/webp/codec')
const DECODER = path.join(WEBP, 'dec/webp_dec.wasm')
const ENCODER = path.join(WEBP, 'enc/webp_enc_simd.wasm')
const DRIVER = path.join(__dirname, 'packages/webp.js')
const TINY = 'tiny.wasm'

const linux = process.platform === 'linux'
const NETWORK = linux && process.getuid() === 0

const lines = ({ stdout }) => stdout.trimEnd().split('\n')

test('warm: files, folders, file: URLs; what is stored, and what is not, and why', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const modules = folder(t)
  fs.mkdirSync(path.join(modules, 'below'))
  fs.copyFileSync(DECODER, path.join(modules, 'decoder.wasm'))
  fs.copyFileSync(DECODER, path.join(modules, 'below/again.wasm'))
  fs.writeFileSync(path.join(modules, TINY), await answer(42))
  const address = pathToFileURL(DECODER).href.replace('file', 'FILE')
  const outcomes = await cliJson(['warm', modules, address], { cache })
  t.deepEqual(
    outcomes.map(({ source, status }) => [path.relative(modules, source), status]),
    [
      [path.join('below', 'again.wasm'), 'stored'],
      ['decoder.wasm', 'same'],
      [TINY, 'skipped'],
      [path.relative(modules, DECODER), 'same'],
    ]
  )
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
  t.deepEqual(
    outcomes.map(({ source }) => source),
    [path.join(fs.realpathSync(installed), 'dist/module.wasm')]
  )
  t.is(entries(cache).length, 1)
})

test('warm: what is in a package, whatever its "exports" say', async (t) => {
  const settings = { cache: path.join(folder(t), 'cache'), cwd: ROOT }
  for (const target of ['@jsquash/webp/codec/dec', '@jsquash/webp/codec/dec/webp_dec.wasm']) {
    const warmed = await cliJson(['warm', target], settings)
    t.deepEqual(
      warmed.map(({ source }) => source),
      [fs.realpathSync(DECODER)],
      target
    )
  }
  const [{ reason }] = await cliJson(['warm', '@jsquash/webp/missing'], { ...settings, code: 1 })
  t.regex(reason, /a package that is installed here/)
})

test('warm: links, those that lead round in circles too, and names in upper case', async (t) => {
  const at = fs.realpathSync(folder(t))
  const [outside, inside] = [path.join(at, 'outside'), path.join(at, 'inside')]
  for (const made of [outside, inside]) fs.mkdirSync(made)
  fs.copyFileSync(DECODER, path.join(outside, 'decoder.WASM'))
  const link = (to, name) =>
    fs.symlinkSync(to, path.join(inside, name), fs.existsSync(to) && fs.statSync(to).isDirectory() ? 'junction' : 'file')
  link(outside, 'folder')
  link(outside, 'folder-again')
  link(inside, 'itself')
  link(path.join(outside, 'decoder.WASM'), 'decoder.wasm')
  link(path.join(at, 'missing'), 'nowhere.wasm')
  fs.symlinkSync('round.wasm', path.join(inside, 'round.wasm'))
  const warmed = await cliJson(['warm', inside], { cache: path.join(folder(t), 'cache') })
  const files = ['decoder.wasm']
  t.deepEqual(
    warmed.map(({ source }) => path.relative(inside, source)),
    [...files, path.join('folder', 'decoder.WASM')]
  )
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
  t.regex(about('missing.wasm'), /^failed .*is not a file, a folder, an address or a package/)
  t.regex(about('empty'), /^failed .*has no \.wasm file/)
  t.regex(about('the package ava'), /^failed .*has no \.wasm file/)
  t.regex(about('webp_dec.wasm'), /^stored /)
})

test('warm: what this engine does not compile is skipped, for the feature', async (t) => {
  const file = path.join(folder(t), 'refused.wasm')
  // (module (func return_call 0))
  fs.writeFileSync(file, Buffer.from('0061736d01000000010401600000030201000a0601040012000b', 'hex'))
  const [outcome] = await cliJson(['warm', '--min-size', '0', file], { cache: path.join(folder(t), 'cache') })
  t.is(outcome.status, 'skipped')
  t.regex(outcome.reason, /tail-call/)
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
  t.deepEqual(await outcomes(), [
    [redirected, 'stored', undefined],
    [fragment, 'same', undefined],
  ])
  t.deepEqual((await outcomes({ env: { WASM_COMPILE_CACHE_MAX_SIZE: '1k' }, code: 1 }))[0], [
    redirected,
    'failed',
    'ERR_WASM_CACHE_TOO_LARGE',
  ])

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

test('warm, then run without a network and without both compilers: hits, and nothing else', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const warmed = await cliJson(['warm', '@jsquash/webp'], { cache, cwd: ROOT })
  t.deepEqual(new Set(warmed.map(({ status }) => status)), new Set(['stored']))
  const only = { WASM_COMPILE_CACHE_ONLY: '1' }
  // Where no network namespace can be made, every connection and look-up of a name fails.
  const cut = path.join(folder(t), 'cut.js')
  fs.writeFileSync(
    cut,
    `
    'use strict'
    const refuse = () => { throw new Error('the network is cut off') }
    require('node:net').Socket.prototype.connect = refuse
    require('node:dns').lookup = refuse`
  )
  const env = { ...only, NODE_OPTIONS: `--require ${JSON.stringify(cut)}` }
  const under = NETWORK ? ['unshare', '--net'] : []
  const events = path.join(folder(t), 'trace.json')
  const hot = await cli(['trace', '--output', events, DRIVER], { cache, env, under })
  t.is(hot.code, 0, hot.stderr)
  const names = JSON.parse(fs.readFileSync(events, 'utf8')).traceEvents.map(({ name }) => name)
  t.deepEqual(names.sort(), ['compiledModule', 'compiledModule', 'moduleCacheHit', 'moduleCacheHit'])

  const { told: builtin } = await program(DRIVER, [])
  t.is(JSON.parse(hot.stdout).digest, builtin.digest)

  const cold = await cli(['run', DRIVER], { cache: path.join(folder(t), 'cold'), env, under })
  t.not(cold.code, 0, 'the compilers are cut off')
  t.regex(cold.stderr, /is not in the compile cache, and WASM_COMPILE_CACHE_ONLY=1/)
})
