'use strict'
// What a program pays that is run with register and knows nothing of it: ten runs in a row from an empty cache, and one when
// its modules are known, beside the built-in engine.

const { spawn } = require('node:child_process')
const { mkdtempSync, readdirSync, readFileSync, rmSync } = require('node:fs')
const path = require('node:path')
const { settled } = require('./cache.js')
const { register, run } = require('./measure.js')
const { progress } = require('./progress.js')
const { summarize } = require('./statistics.js')
const { having, linux } = require('../__test__/support/processes.js')

const PACKAGES = path.join(__dirname, '../__test__/packages')
const LARGE = path.join(__dirname, 'large')
const program = (name) => path.join(__dirname, 'programs', name)
const programs = (folder, titles) => Object.entries(titles).map(([name, title]) => [name, title, path.join(folder, `${name}.js`)])

/**
 * name, title, what Node runs, and the first Node that can. The packages are those of the tests, one round of each, and those of
 * large/.
 */
const ALL = [
  ['empty', 'an empty program', program('empty.js')],
  ['tiny', '1,000 modules of 35 bytes', program('tiny-modules.js')],
  ...programs(PACKAGES, {
    'hash-wasm': 'hash-wasm',
    yoga: 'yoga-layout',
    rollup: 'rollup',
    sqljs: 'sql.js',
    webp: 'webp',
    'tree-sitter': 'tree-sitter',
    resvg: 'resvg',
    ripgrep: 'ripgrep',
    oxigraph: 'oxigraph',
    swc: '@swc/wasm',
    lightningcss: 'lightningcss',
    'esbuild-cli': 'esbuild',
    assemblyscript: 'assemblyscript',
    mupdf: 'mupdf',
    pyodide: 'pyodide',
  }),
  ...programs(LARGE, {
    tesseract: 'tesseract.js-core, SIMD',
    solc: 'solc',
    kuzu: 'kuzu-wasm',
    webr: 'webR',
    php: 'php-wasm',
    duckdb: 'duckdb-wasm, eh',
    z3: 'z3-solver',
    biome: 'biome',
    pandoc: 'pandoc-wasm',
    automerge: 'automerge',
    'web-ifc': 'web-ifc',
  }),
  ['dart', 'dart_fmt (GC, JS string builtins)', path.join(PACKAGES, 'dart.js'), 22],
]

const MAJOR = Number.parseInt(process.versions.node, 10)
const ROWS = ALL.filter(([, , , since = 0]) => MAJOR >= since)

/** Whether a row needs the packages of large/. */
const isLarge = ([, , file]) => path.dirname(file) === LARGE

const COLUMNS = { builtin: 'built-in', first: 'first run', second: 'second', tenth: 'tenth', known: 'once known' }

/** Runs after which a verdict that use can change has done so: three, and one that is measured once more. */
const TRIAL = 4

/** Of so many rounds one goes on to the tenth run. */
const ROW_OF_TEN = 3

const verdictsOf = (cache) => {
  try {
    const folder = path.join(cache, 'verdicts')
    return readdirSync(folder).map((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')))
  } catch {
    return []
  }
}

/** Removes a cache, and ends who works for it: what is measured next is to have the machine. */
function abandon(cache) {
  const left = linux ? having(`WASM_COMPILE_CACHE=${cache}`) : []
  for (const pid of left) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }
  rmSync(cache, { recursive: true, force: true, maxRetries: 5 })
}

/** Takes the machine from those that are measured. @returns {() => void} gives it back */
function busy() {
  const loops = Array.from({ length: LOOPS }, () => spawn(process.execPath, ['-e', 'for (;;);'], { stdio: 'ignore' }))
  return () => loops.forEach((loop) => loop.kill('SIGKILL'))
}

const LOOPS = 2

/**
 * What a program takes: each run directly before or after one on the built-in engine, in a round from an empty cache, and once
 * with the cache in which its modules are known.
 *
 * @param {(cache?: string) => Promise<{wall: number, cpu: number, rss: number}>} take one run; without a cache, without this package
 */
async function measureRound(isWithTenth, known, directory, take) {
  const cache = mkdtempSync(path.join(directory, 'auto-'))
  const before = await take()
  const [first, second] = [await take(cache), await take(cache)]
  let tenth
  if (isWithTenth) {
    for (let k = 3; k < 10; k++) await take(cache)
    tenth = [await take(), await take(cache)]
  }
  abandon(cache)
  const after = await take()
  return { first: [before, first], second: [after, second], tenth, known: [after, await take(known)] }
}

async function measureRounds({ rounds, hasTenth }, title, known, directory, take) {
  const all = []
  for (let round = 0; round < rounds; round++) {
    progress(`${title}: round ${round + 1} of ${rounds}`)
    all.push(await measureRound(hasTenth && round % ROW_OF_TEN === 0, known, directory, take))
  }
  return columnsOf(all)
}

/** @param {{directory: string, rounds: number, busyRounds: number, hasTenth?: boolean}} how `hasTenth`: with runs up to the tenth */
async function measure([name, title, file], { directory, rounds, busyRounds, hasTenth = true }) {
  const digests = new Set()
  const take = async (cache) => {
    // Packages start processes of their own.
    const ours = { WASM_COMPILE_CACHE: cache, NODE_OPTIONS: `--require ${JSON.stringify(register)}` }
    const sample = await run({ args: [file], env: { LOOPS: '1', ...(cache === undefined ? {} : ours) } })
    digests.add(name === 'tiny' ? '' : sample.digest)
    return sample
  }
  const known = mkdtempSync(path.join(directory, 'known-'))
  progress(`${title}: its modules become known`)
  // What comes back to the built-in engine by use has V8's code made by the run after it.
  for (let k = 0; k < 3; k++) {
    await take(known)
    await settled(known)
    for (let j = 0; j < TRIAL; j++) await take(known)
  }
  await settled(known)
  const columns = await measureRounds({ rounds, hasTenth }, title, known, directory, take)
  let beside
  if (busyRounds > 0) {
    const give = busy()
    beside = await measureRounds({ rounds: busyRounds, hasTenth }, `${title}, on a busy machine`, known, directory, take).finally(
      give
    )
  }
  const verdicts = verdictsOf(known)
  rmSync(known, { recursive: true, force: true, maxRetries: 5 })
  if (digests.size > 1) throw new Error(`${title}: the columns do not agree on the output`)
  return { name, title, columns, busy: beside, verdicts: verdicts.map(inWords), isOurs: verdicts.some(isForOurs) }
}

const isForOurs = ({ engine }) => engine === 'ours'

function inWords({ engine, reason, codes = {} }) {
  const [code] = Object.values(codes)
  return `${engine === 'ours' ? 'ours' : 'built-in'}: ${reason}${code === undefined ? '' : `; ${code.reason}`}`
}

/** Of pairs of runs: the medians of what each takes, and of what the second of a pair takes more or less than the first. */
function columnsOf(rounds) {
  const ofAll = (samples) => {
    const of = (what) => summarize(samples.map((sample) => sample[what]))
    return { ...of('wall'), cpu: of('cpu').median, rss: of('rss').median }
  }
  const columns = { builtin: { label: COLUMNS.builtin, ...ofAll(rounds.map(({ known: [plain] }) => plain)) } }
  for (const key of ['first', 'second', 'tenth', 'known']) {
    const pairs = rounds.map((round) => round[key]).filter(Boolean)
    if (pairs.length === 0) continue
    const median = (of) => summarize(pairs.map(([plain, ours]) => of(plain, ours))).median
    columns[key] = {
      label: COLUMNS[key],
      ...ofAll(pairs.map(([, ours]) => ours)),
      ratio: median((plain, ours) => ours.wall / plain.wall),
      more: median((plain, ours) => ours.wall - plain.wall),
      memory: median((plain, ours) => ours.rss / plain.rss),
      moreMemory: median((plain, ours) => ours.rss - plain.rss),
    }
  }
  return columns
}

module.exports = { COLUMNS, ROWS, isLarge, measure }
