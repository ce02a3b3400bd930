'use strict'
// The projects in examples/, as their README says: the packed tarballs are installed into an empty folder, then each is
// run by its own command. And, in the same folder, jest and vitest under `engine: 'auto'`.

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')
const { npm, run } = require('../scripts/run.js')
const { judged, seen, verdicts } = require('./support/auto.js')
const { entries, environment } = require('./support/commands.js')
const { install } = require('./support/installation.js')
const { linux, until } = require('./support/processes.js')
const { isStress } = require('./support/stress.js')
const { remove } = require('./support/remove.js')

const EXAMPLES = path.join(__dirname, '../examples')
const projects = fs
  .readdirSync(EXAMPLES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'node_modules')
  .map((entry) => entry.name)

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-examples-'))
test.after.always(() => remove(folder))
const home = path.join(folder, 'examples')

// The Node under test is the one that scripts find, and the addon under test the one that was installed.
const env = (more) =>
  environment({
    PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env.PATH}`,
    WASM_COMPILE_CACHE: path.join(folder, 'cache'),
    WASM_COMPILE_CACHE_FINISH: '0',
    NAPI_RS_NATIVE_LIBRARY_PATH: undefined,
    NODE_ENV: undefined,
    ...more,
  })

/** Other tests have these: ./images.test.js, ./plug-and-play.test.js; and Next has 340 MB. */
const ELSEWHERE = ['docker', 'lambda', 'pnp', ...(isStress ? [] : ['next'])]
const ignored = (file) => /[\\/](?:node_modules|dist)$/.test(file) || ELSEWHERE.some((name) => file === path.join(EXAMPLES, name))

test.before('the tarballs are installed', async (t) => {
  t.timeout(10 * 60 * 1000)
  fs.cpSync(EXAMPLES, home, { recursive: true, filter: (file) => !ignored(file) })
  await install(home, folder, env())
})

/** Runs a command in a project; its output, all of which a failure shows. */
async function command(t, project, [file, args], more) {
  // `run` adds its `env` to ours: what is undefined there is not in the child's.
  const missing = Object.fromEntries(Object.keys(process.env).map((name) => [name, undefined]))
  const { ok, output, stdout, why } = await run(project, file, args, {
    cwd: path.join(home, project),
    env: { ...missing, ...env(more) },
    log() {},
  })
  if (!ok) t.log(output)
  t.true(ok, `${project}: ${why}`)
  return stdout
}

const script = (...args) => npm(['run', '--silent', ...args])

test.serial('nothing was compiled: the addon is that of the platform package', (t) => {
  const installed = (name) => fs.readdirSync(path.join(home, 'node_modules', name))
  t.deepEqual(
    installed('wasm-compile-cache').filter((name) => /\.node$|^target$|^build$/.test(name)),
    []
  )
  const [platform] = fs.readdirSync(path.join(home, 'node_modules')).filter((name) => name.startsWith('wasm-compile-cache-'))
  t.is(installed(platform).filter((name) => name.endsWith('.node') && !name.includes('.v8-')).length, 1)
})

test.serial('require: cold, and mapped from the cache when the finisher that it left behind is done', async (t) => {
  const planets = 'Saturn: 274\nMars: 2\nEarth: 1\n'
  const more = { WASM_COMPILE_CACHE: path.join(folder, 'finished'), WASM_COMPILE_CACHE_FINISH: '1' }
  // A machine fast enough could have been done with the optimizing tier by then.
  t.regex(await command(t, 'require', script('start'), more), new RegExp(`^${planets}SQLite ran in (?:baseline|optimized) code\n$`))
  await until(() => entries(more.WASM_COMPILE_CACHE).length === 1, 'the artifact of sql.js')
  t.is(await command(t, 'require', script('start'), more), `${planets}SQLite ran in optimized code\n`)
})

test.serial('require: mapped from the cache by its first run, where the command line has warmed it', async (t) => {
  const more = { WASM_COMPILE_CACHE: path.join(folder, 'warmed') }
  const npx = (...args) => npm(['exec', '--no', '--', 'wasm-compile-cache', ...args])
  t.regex(await command(t, 'require', npx('warm', 'sql.js'), more), /^(stored|same) .*sql-wasm\.wasm/m)
  t.regex(await command(t, 'require', script('start'), more), /^SQLite ran in optimized code$/m)
})

test.serial('import', async (t) => {
  t.is(await command(t, 'import', script('start')), '1:0 from 0:1:0\n1:9 from 0:1:9\n2:0 from 1:2:0\nthe same in optimized code\n')
})

test.serial('typescript, checked as Node and as bundlers resolve it', async (t) => {
  t.is(await command(t, 'typescript', script('check')), '')
})

test.serial('typescript, the compiled output', async (t) => {
  t.is(
    await command(t, 'typescript', script('start')),
    [
      'CommonJS: valid true, exports functions',
      'ES module: the same exports',
      'md5 of nothing: d41d8cd98f00b204e9800998ecf8427e',
      'each was compiled here',
      '',
    ].join('\n')
  )
})

test.serial('jest: what its files leave is finished, though they have a process of their own', async (t) => {
  const more = { WASM_COMPILE_CACHE: path.join(folder, 'of-jest'), WASM_COMPILE_CACHE_FINISH: '1' }
  await command(t, 'jest', script('test', '--', '--selectProjects', 'registered', '--runInBand'), more)
  await until(() => entries(more.WASM_COMPILE_CACHE).length === 1, 'the artifact of sql.js')
})

test.serial('jest, all files in one process', async (t) => {
  await command(t, 'jest', script('test', '--', '--runInBand'))
})

test.serial('jest, a process a file', async (t) => {
  await command(t, 'jest', script('test', '--', '--maxWorkers', '2'))
})

for (const pool of ['threads', 'forks']) {
  test.serial(`vitest, ${pool}`, async (t) => {
    t.regex(await command(t, 'vitest', script('test', '--', '--pool', pool)), /3 passed/)
  })
}

test.serial('ava', async (t) => {
  t.regex(await command(t, 'ava', script('test')), /3 tests passed/)
})

test.serial('node-test', async (t) => {
  t.regex(await command(t, 'node-test', script('test')), /pass 3$/m)
})

const answers = `${'726d63fb08ed452e by wasm-compile-cache\n'.repeat(2)}${'a worker ended with 0\n'.repeat(2)}`

test.serial('cluster, loaded into the workers by the primary', async (t) => {
  t.is(await command(t, 'cluster', script('start')), answers)
})

test.serial('cluster, loaded into all of them by NODE_OPTIONS', async (t) => {
  const node = [process.execPath, ['main.js']]
  t.is(await command(t, 'cluster', node, { NODE_OPTIONS: '--require wasm-compile-cache/register' }), answers)
})

if (isStress) {
  test.serial('next: its first picture is drawn by code out of the cache', async (t) => {
    t.timeout(10 * 60 * 1000)
    const settings = {
      WASM_COMPILE_CACHE: path.join(folder, 'of-next'),
      WASM_COMPILE_CACHE_ENGINE: undefined,
      NEXT_TELEMETRY_DISABLED: '1',
    }
    await command(t, 'next', script('build'), settings)
    t.regex(await command(t, 'next', script('warm'), settings), /^stored .*resvg\.wasm/m)
    const pictures = []
    for (const [start, said] of [
      [npm(['exec', '--no', '--', 'next', 'start', '--port', '0']), undefined],
      [script('start', '--', '--port', '0'), /moduleCacheHit/],
    ]) {
      const all = env({ ...settings, NODE_DEBUG: 'wasm-compile-cache' })
      const server = spawn(start[0], start[1], { cwd: path.join(home, 'next'), env: all, detached: true })
      let output = ''
      for (const stream of [server.stdout, server.stderr]) stream.on('data', (text) => (output += text))
      try {
        await until(() => /Local: +(\S+)[^]*Ready/.test(output) || server.exitCode !== null, 'Next')
        const [, address] = /Local: +(\S+)/.exec(output) ?? t.fail(output)
        const answer = await fetch(`${address}/card?text=hello`)
        t.is(answer.headers.get('content-type'), 'image/png')
        pictures.push(Buffer.from(await answer.arrayBuffer()))
        if (said !== undefined) t.regex(output, said)
      } finally {
        process.kill(-server.pid, 'SIGKILL')
      }
    }
    t.true(pictures[0].length > 1000)
    t.deepEqual(pictures[0], pictures[1])
  })
}

// ── Under `engine: 'auto'`, as whoever copies an example has it ────────────────────────────────────────────────────────────

const AUTO = { WASM_COMPILE_CACHE_ENGINE: undefined }

test.serial('the tests of jest and vitest pass, whatever is known of sql.js', async (t) => {
  const known = { ...AUTO, WASM_COMPILE_CACHE: path.join(folder, 'known') }
  await command(t, 'require', npm(['exec', '--no', '--', 'wasm-compile-cache', 'warm', 'sql.js']), known)
  for (const more of [{ ...AUTO, WASM_COMPILE_CACHE: path.join(folder, 'unknown') }, known]) {
    await command(t, 'jest', script('test'), more)
    t.regex(await command(t, 'vitest', script('test'), more), /3 passed/)
  }
})

/** Runners whose files, two each, note what they see of WebAssembly (./children/look.js). */
const RUNNERS = {
  jest: {
    bin: 'jest/bin/jest.js',
    lines: ["const { look } = require('./look.cjs')", "const { appendFileSync } = require('node:fs')"],
    files: { 'jest.config.js': 'module.exports = {}', 'package.json': '{}' },
  },
  vitest: {
    bin: 'vitest/vitest.mjs',
    lines: ["import { test } from 'vitest'", "import { look } from './look.cjs'", "import { appendFileSync } from 'node:fs'"],
    files: { 'vitest.config.js': 'export default {}', 'package.json': '{ "type": "module" }' },
  },
}

const NOTED = path.join(folder, 'noted')
const NOTES = "test('looks', async () => appendFileSync(process.env.NOTED, JSON.stringify(await look()) + '\\n'))"

const placeOf = (runner) => path.join(home, `look-${runner}`)

for (const [name, { lines, files }] of Object.entries(RUNNERS)) {
  test.before(`files that look, of ${name}`, () => {
    const at = placeOf(name)
    fs.mkdirSync(at, { recursive: true })
    fs.copyFileSync(path.join(__dirname, 'children/look.js'), path.join(at, 'look.cjs'))
    const text = [...lines, NOTES].join('\n')
    const all = { ...files, 'one.test.js': text, 'two.test.js': text }
    for (const [file, contents] of Object.entries(all)) fs.writeFileSync(path.join(at, file), contents)
  })
}

/** What both files of a runner see. */
async function look(t, [name, ...args], more) {
  fs.rmSync(NOTED, { force: true })
  const bin = path.join(home, 'node_modules', RUNNERS[name].bin)
  await command(t, `look-${name}`, [process.execPath, [bin, ...args]], { ...AUTO, NOTED, ...more })
  const lines = fs.readFileSync(NOTED, 'utf8').trimEnd().split('\n')
  t.is(lines.length, 2)
  return lines.map((line) => JSON.parse(line))
}

const inCache = (name, more) => ({
  NODE_OPTIONS: '--require wasm-compile-cache/register',
  WASM_COMPILE_CACHE: path.join(folder, name),
  ...more,
})

// Each makes its contexts, threads and processes in its own way.
const WAYS = {
  jest: [['--maxWorkers', '2']],
  vitest: [
    ['run', '--pool', 'threads'],
    ['run', '--pool', 'forks'],
  ],
}

for (const [name, ways] of Object.entries(WAYS)) {
  test.serial(`the files of ${name} see what they see without this package, whatever is known of sql.js`, async (t) => {
    const expected = await look(t, [name, ...ways[0]], {})
    for (const way of ways) {
      for (const [cache, tier] of [
        ['unknown', 'builtin'],
        ['known', 'optimized'],
      ]) {
        const found = await look(t, [name, ...way], inCache(cache))
        const told = expected.map((one) => ({ ...one, tier }))
        t.deepEqual(found, told, `${cache}, ${way}`)
      }
    }
  })
}

if (linux) {
  test.serial('a runner that ends its processes hands nothing over; its next run, a minute later, does', async (t) => {
    const more = inCache('learning', { WASM_COMPILE_CACHE_FINISH: 'now' })
    const cache = more.WASM_COMPILE_CACHE
    const forks = ['vitest', ...WAYS.vitest[1]]
    await look(t, forks, more)
    const [left] = seen(cache)
    t.deepEqual(seen(cache), [left], 'a word of the module')
    const old = Date.now() / 1000 - 120
    fs.utimesSync(path.join(cache, 'seen', left), old, old)
    await look(t, forks, more)
    await judged(cache)
    t.deepEqual(seen(cache), [])
    t.like(verdicts(cache)[0], { engine: 'ours', basis: 'artifact' })
  })
}

test('the README of the examples names each of them, and its scripts', (t) => {
  const readme = fs.readFileSync(path.join(EXAMPLES, 'README.md'), 'utf8')
  const rows = [...readme.matchAll(/^\| \[([\w-]+)\]\(\1\) \| .* \| (`(?:npm|yarn) .*`) \|$/gm)]
  t.deepEqual(rows.map(([, name]) => name).sort(), [...projects].sort())
  for (const [, name, commands] of rows) {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(EXAMPLES, name, 'package.json'), 'utf8'))
    const named = commands.match(/(?<=`(?:npm|yarn) (?:run )?)(?!run )\w+/g)
    t.deepEqual(named.sort(), Object.keys(scripts).sort(), name)
  }
})
