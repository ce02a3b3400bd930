'use strict'
// What a program pays that is run with register and knows nothing of it: ten runs in a row from an empty cache, and one when
// its modules are known, beside the built-in engine.

const { mkdtempSync, readdirSync, readFileSync, rmSync } = require('node:fs')
const path = require('node:path')
const { settled } = require('./cache.js')
const { register, run } = require('./measure.js')
const { progress } = require('./progress.js')
const { summarize } = require('./statistics.js')

const PACKAGES = path.join(__dirname, '../__test__/packages')
const LARGE = path.join(__dirname, 'large')
const program = (name) => path.join(__dirname, 'programs', name)
const programs = (folder, titles) => Object.entries(titles).map(([name, title]) => [name, title, path.join(folder, `${name}.js`)])

/** name, title, and what Node runs. The packages are those of the tests, one round of each, and those of large/. */
const ROWS = [
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
]

/** Whether a row needs the packages of large/. */
const isLarge = ([, , file]) => path.dirname(file) === LARGE

const COLUMNS = { builtin: 'built-in', first: 'first run', second: 'second', tenth: 'tenth', known: 'once known' }

/** Runs after which a verdict that use can change has done so: three, and one that is measured once more. */
const TRIAL = 4

const verdictsOf = (cache) => {
  try {
    const folder = path.join(cache, 'verdicts')
    return readdirSync(folder).map((file) => JSON.parse(readFileSync(path.join(folder, file), 'utf8')))
  } catch {
    return []
  }
}

async function measure([name, title, file], { directory, rounds }) {
  const samples = Object.fromEntries(Object.keys(COLUMNS).map((key) => [key, []]))
  const digests = new Set()
  let verdicts = []
  for (let round = 0; round < rounds; round++) {
    progress(`${title}: round ${round + 1} of ${rounds}`)
    const cache = mkdtempSync(path.join(directory, 'auto-'))
    const env = { LOOPS: '1' }
    // Packages start processes of their own.
    const NODE_OPTIONS = `--require ${JSON.stringify(register)}`
    const auto = { args: [file], env: { ...env, WASM_COMPILE_CACHE: cache, NODE_OPTIONS } }
    const take = async (key, settings) => {
      const sample = await run(settings)
      digests.add(name === 'tiny' ? '' : sample.digest)
      if (key !== undefined) samples[key].push(sample)
    }
    await take('builtin', { args: [file], env })
    const keys = ['first', 'second', ...new Array(7).fill(undefined), 'tenth']
    for (const key of keys) await take(key, auto)
    await take('builtin', { args: [file], env })
    await settled(cache)
    // What comes back to the built-in engine by use has V8's code made by the run after it.
    for (let k = 0; k <= TRIAL; k++) await take(undefined, auto)
    await settled(cache)
    for (let k = 0; k < TRIAL; k++) await take(undefined, auto)
    await take('known', auto)
    await take('builtin', { args: [file], env })
    verdicts = verdictsOf(cache)
    rmSync(cache, { recursive: true, force: true, maxRetries: 5 })
  }
  if (digests.size > 1) throw new Error(`${title}: the columns do not agree on the output`)
  return result(name, title, samples, verdicts)
}

function result(name, title, samples, verdicts) {
  const columns = {}
  for (const [key, all] of Object.entries(samples)) {
    const of = (what) => summarize(all.map((sample) => sample[what]))
    columns[key] = { label: COLUMNS[key], ...of('wall'), cpu: of('cpu').median, rss: of('rss').median }
  }
  for (const column of Object.values(columns)) {
    column.ratio = column.median / columns.builtin.median
    column.memory = column.rss / columns.builtin.rss
  }
  const words = verdicts.map(({ engine, reason, codes = {} }) => {
    const [code] = Object.values(codes)
    return `${engine === 'ours' ? 'ours' : 'built-in'}: ${reason}${code === undefined ? '' : `; ${code.reason}`}`
  })
  return { name, title, columns, verdicts: words }
}

module.exports = { COLUMNS, ROWS, isLarge, measure }
