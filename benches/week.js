'use strict'
// node benches/week.js: a week of development of a small project (./week/) that uses real packages, with this package and
// without it. What it finds becomes `week` of results.json; `node benches/report.js` then writes it into the pages.
//
// BENCH_ROUNDS=2       weeks
// BENCH_OUTPUT=folder  where the results.json is that gets it (default: this folder)
//
// Each command runs on both sides, one directly after the other, and they take turns to be the first. Between the steps
// there is a pause, in which this package's judge does what is left for it: within one, nobody waits. What a side does that the other has no use
// for (restoring a cache, filling one for an image) is in its time.

const { spawn } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { judgesOf } = require('../__test__/support/auto.js')
const { pack, release, succeed } = require('../__test__/support/installation.js')
const { platformName } = require('../scripts/build.js')
const { otherNodes } = require('../scripts/prepare.js')
const { npm } = require('../scripts/run.js')
const { machine } = require('./machine.js')
const { environment } = require('./measure.js')
const { line, progress } = require('./progress.js')
const { summarize } = require('./statistics.js')

const ROOT = path.join(__dirname, '..')
const PROJECT = path.join(__dirname, 'week')
const OUTPUT = path.join(process.env.BENCH_OUTPUT ?? __dirname, 'results.json')
const NEXT = '0.0.0-next'

const node = (major) => otherNodes().find((one) => one.major === major)?.path ?? process.execPath
const readJson = (file) => JSON.parse(fs.readFileSync(file, 'utf8'))
const writeJson = (file, value) => fs.writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`)

// ── This package, as it is and as its next version ─────────────────────────────────────────────────────────────────────────

/** The tarballs that a release has, and those of one that differs in its version: {now, next}, each by name. */
async function tarballs(folder) {
  const { name, version } = readJson(path.join(ROOT, 'package.json'))
  const { main: now, platform } = await release(folder)
  await succeed('tar', ['tar', ['-xzf', now, '-C', folder]], { cwd: folder })
  const unpacked = path.join(folder, 'package')
  writeJson(path.join(unpacked, 'package.json'), { ...readJson(path.join(unpacked, 'package.json')), version: NEXT })
  for (const file of fs.readdirSync(path.join(unpacked, 'dist'))) {
    const at = path.join(unpacked, 'dist', file)
    fs.writeFileSync(at, fs.readFileSync(at, 'utf8').replaceAll(`{"version":"${version}"}`, `{"version":"${NEXT}"}`))
  }
  const next = await pack(unpacked, folder)
  const both = (own) => ({ [name]: `file:${own}`, [`${name}-${platformName()}`]: `file:${platform}` })
  return { now: both(now), next: both(next) }
}

// ── A side ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** One of two copies of the project, and the machine's cache of this package where it has that. */
class Side {
  /** @param {object | undefined} packages what it has of this package, as `tarballs` gives it */
  constructor(directory, packages) {
    this.project = path.join(directory, 'project')
    this.cache = path.join(directory, 'cache')
    this.packages = packages
    this.node = node(20)
    this.outputs = []
    fs.cpSync(PROJECT, this.project, { recursive: true })
  }

  get has() {
    return this.packages !== undefined
  }

  /** Writes package.json and its lock: what somebody commits, so it is in no time. */
  async depend(version = 'now') {
    const { packages } = readJson(path.join(ROOT, 'package-lock.json'))
    const file = path.join(this.project, 'package.json')
    const project = readJson(file)
    for (const kind of ['dependencies', 'devDependencies']) {
      for (const name of Object.keys(project[kind])) {
        const found = packages[`node_modules/${name}`]
        if (found !== undefined) project[kind][name] = found.version
      }
    }
    Object.assign(project.dependencies, this.packages?.[version])
    writeJson(file, project)
    fs.rmSync(path.join(this.project, 'package-lock.json'), { force: true })
    await succeed('npm install', npm(['install', '--package-lock-only', '--prefer-offline', '--no-audit', '--no-fund']), {
      cwd: this.project,
      env: environment({}),
    })
  }

  /** Runs a command with this side's Node; `wall` is in ms. */
  run([program, args], { isInstalling = false, env = {} } = {}) {
    const ours = {
      WASM_COMPILE_CACHE: this.cache,
      ...(isInstalling ? {} : { NODE_OPTIONS: '--require wasm-compile-cache/register' }),
    }
    const all = environment({
      ...(this.has ? ours : {}),
      PATH: `${path.dirname(this.node)}${path.delimiter}${process.env.PATH}`,
      npm_execpath: undefined,
      NAPI_RS_NATIVE_LIBRARY_PATH: undefined,
      ...env,
    })
    return new Promise((resolve, reject) => {
      const started = performance.now()
      const child = spawn(program, args, { cwd: this.project, env: all, stdio: ['ignore', 'pipe', 'pipe'] })
      let [stdout, stderr, wall] = ['', '']
      child.stdout.on('data', (text) => (stdout += text))
      child.stderr.on('data', (text) => (stderr += text))
      child.on('error', reject)
      child.on('exit', () => (wall = performance.now() - started))
      child.on('close', (code, signal) => {
        if (code !== 0) reject(new Error(`${signal ?? code}: ${[program, ...args].join(' ')}\n${stdout}${stderr}`))
        else resolve({ wall, stdout })
      })
    })
  }

  /** What it prints has to be the same on both sides. */
  async runs(file, settings) {
    const { wall, stdout } = await this.run(['node', [file]], settings)
    this.outputs.push(stdout)
    return wall
  }

  async install(...more) {
    const args = ['ci', '--prefer-offline', '--no-audit', '--no-fund', ...more]
    return (await this.run(['npm', args], { isInstalling: true })).wall
  }

  build = () => this.runs('build.js')
  test = async () => (await this.run(['node', ['--test']])).wall
  start = () => this.runs('app.js', { env: { WASM_COMPILE_CACHE_FINISH: '0' } })

  /** Somebody changes a file, and it is built or tested. */
  async edit(then) {
    fs.appendFileSync(path.join(this.project, 'src/database.js'), '\n// Changed.\n')
    return this[then]()
  }

  /** Nobody uses the machine: the judge that waits for that is replaced by one that does not ask, as others may use this one. */
  async pause() {
    if (!this.has) return
    const judge = 'node_modules/wasm-compile-cache/dist/judge.js'
    for (const pid of judgesOf(this.cache, path.join(this.project, judge))) {
      try {
        process.kill(pid)
      } catch {
        // It has ended meanwhile.
      }
    }
    await this.run(['node', [judge, 'now']], { isInstalling: true, env: { WASM_COMPILE_CACHE_FINISH: '0' } })
  }

  /** Another machine, with what the CI service kept of the cache. */
  async move(directory) {
    const [project, cache] = [path.join(directory, 'project'), path.join(directory, 'cache')]
    fs.cpSync(this.project, project, { recursive: true, filter: (file) => !/[\\/](?:node_modules|dist)$/.test(file) })
    const started = performance.now()
    if (this.has && fs.existsSync(this.cache)) fs.cpSync(this.cache, cache, { recursive: true })
    const wall = performance.now() - started
    Object.assign(this, { project, cache })
    return wall
  }

  /** As a Dockerfile does. */
  async image(directory) {
    fs.rmSync(this.cache, { recursive: true, force: true })
    await this.move(directory)
    let wall = await this.install('--omit=dev')
    if (this.has) {
      const warm = ['wasm-compile-cache', 'warm', 'node_modules']
      wall += (await this.run(['npx', warm], { isInstalling: true, env: { WASM_COMPILE_CACHE_FINISH: '0' } })).wall
      for (const file of ['', ...fs.readdirSync(this.cache, { recursive: true })]) {
        const at = path.join(this.cache, file)
        fs.chmodSync(at, fs.statSync(at).mode & 0o555)
      }
    }
    return wall
  }

  /** As a release with another native side: nothing of its code is there yet. */
  dropCode() {
    if (!fs.existsSync(this.cache)) return
    for (const name of fs.readdirSync(this.cache).filter((one) => /^v\d/.test(one))) {
      fs.rmSync(path.join(this.cache, name), { recursive: true, force: true })
    }
  }
}

// ── The week ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const times = (count, command) => new Array(count).fill(command)

/** name, title, commands of each side; and what happens before, in nobody's time. */
const INSTALL = [(side) => side.install()]

const STEPS = [
  ['install', '`npm ci`', INSTALL],
  ['first-build', 'the first build', [(side) => side.build()]],
  ['first-test', 'the first run of the tests', [(side) => side.test()]],
  ['watch', 'tests, 8 times, as files change', times(8, (side) => side.edit('test'))],
  ['builds', 'builds, 5 times, as files change', times(5, (side) => side.edit('build'))],
  ['node-install', 'Node 22 in the place of 20: `npm ci`', INSTALL, (side) => (side.node = node(22))],
  ['node', 'tests and builds on it, twice each', [...times(2, (side) => side.test()), ...times(2, (side) => side.build())]],
  [
    'upgrade-install',
    'another version of this package: `npm ci`',
    INSTALL,
    async (side) => {
      await side.depend('next')
      side.dropCode()
    },
  ],
  ['upgrade', 'the first tests and the first build with it', [(side) => side.test(), (side) => side.build()]],
  [
    'upgraded',
    'tests and builds after that, 3 times each',
    [...times(3, (side) => side.edit('test')), ...times(3, (side) => side.edit('build'))],
  ],
  [
    'ci-install',
    'CI on a new machine: the cache is restored, `npm ci`',
    [(side, { place }) => side.move(place('ci')), (side) => side.install()],
  ],
  ['ci', 'tests and a build there', [(side) => side.test(), (side) => side.build()]],
  ['image', 'an image: `npm ci --omit=dev`, and `warm node_modules`', [(side, { place }) => side.image(place('image'))]],
  ['containers', 'ten containers of it start, and answer once', times(10, (side) => side.start())],
]

/** One week. @returns {Promise<Record<string, {without: number, with: number}>>} ms by step */
async function week(directory, packages, say) {
  const sides = {
    without: new Side(path.join(directory, 'without')),
    with: new Side(path.join(directory, 'with'), packages),
  }
  for (const side of Object.values(sides)) await side.depend()
  const found = {}
  let turn = 0
  for (const [name, title, commands, before] of STEPS) {
    line(title)
    found[name] = { without: 0, with: 0 }
    for (const side of Object.values(sides)) await before?.(side)
    for (const [index, command] of commands.entries()) {
      say(`${title} (${index + 1} of ${commands.length})`)
      const order = turn++ % 2 === 0 ? ['without', 'with'] : ['with', 'without']
      for (const key of order) {
        const place = (folder) => path.join(directory, key, folder)
        found[name][key] += await command(sides[key], { place })
      }
    }
    say(`${title}: a pause`)
    await sides.with.pause()
  }
  if (sides.with.outputs.join() !== sides.without.outputs.join()) throw new Error('the sides do not agree on the output')
  return found
}

function result(weeks) {
  const of = (key, pick) => summarize(weeks.map((one) => pick(one)[key]))
  const row = (name, title, commands, pick) => {
    const [without, ours] = [of('without', pick), of('with', pick)]
    return { name, title, commands, without, with: ours, ratio: ours.median / without.median }
  }
  const sum = (one) => {
    const all = Object.values(one)
    return Object.fromEntries(['without', 'with'].map((key) => [key, all.reduce((total, step) => total + step[key], 0)]))
  }
  const rows = STEPS.map(([name, title, commands]) => row(name, title, commands.length, (one) => one[name]))
  const count = rows.reduce((total, { commands }) => total + commands, 0)
  return [...rows, row('total', '**the week**', count, sum)]
}

async function main() {
  const rounds = Number(process.env.BENCH_ROUNDS ?? 2)
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-week-'))
  const weeks = []
  try {
    const packages = await tarballs(directory)
    for (let round = 1; round <= rounds; round++) {
      line(`week ${round} of ${rounds}`)
      weeks.push(
        await week(path.join(directory, `week-${round}`), packages, (text) => progress(`week ${round} of ${rounds}: ${text}`))
      )
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  const rows = result(weeks)
  for (const { title, without, with: ours, ratio } of rows) {
    console.log(`${title}: ${without.median.toFixed(0)} ms without, ${ours.median.toFixed(0)} ms with, ${ratio.toFixed(2)}×`)
  }
  writeJson(OUTPUT, { ...(fs.existsSync(OUTPUT) ? readJson(OUTPUT) : {}), week: { machine: machine(), rounds, rows } })
}

main().catch((error) => {
  line(error.stack)
  process.exitCode = 1
})
