'use strict'
// Under register with `engine: 'auto'` in a container with little memory: what runs without this package runs with it, ten
// times in a row, while its modules are judged beside it. Afterwards each of them is known: its artifact is there, or the
// reason is.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { contain } = require('./support/containers.js')
const { linux } = require('./support/processes.js')
const { count } = require('./support/stress.js')

const PACKAGES = path.join(__dirname, 'packages')
const LARGE = path.join(__dirname, '../benches/large')

/**
 * Where each is, the fastest first: `npm test` does not get far. `room` is the MiB in which artifacts have to appear; others
 * are nothing for this engine, or have no room anywhere.
 */
const PROGRAMS = [
  { folder: PACKAGES, name: 'sqljs', room: 192 },
  { folder: PACKAGES, name: 'resvg', room: 512 },
  { folder: PACKAGES, name: 'swc', room: 1024 },
  { folder: PACKAGES, name: 'esbuild-cli', room: 1024 },
  { folder: PACKAGES, name: 'lightningcss', room: 1024 },
  { folder: PACKAGES, name: 'mupdf' },
  { folder: PACKAGES, name: 'pyodide' },
  { folder: LARGE, name: 'tesseract', room: 512 },
  { folder: LARGE, name: 'solc', room: 1024 },
  ...['biome', 'duckdb', 'kuzu', 'pandoc', 'php', 'webr', 'z3'].map((name) => ({ folder: LARGE, name })),
]

/** MiB; the one in which most has to happen first. */
const LIMITS = [512, 192, 1024]

const isInstalled = ({ folder }) => folder === PACKAGES || fs.existsSync(path.join(folder, 'node_modules'))

const combinations = LIMITS.flatMap((limit) => PROGRAMS.filter(isInstalled).map((program) => ({ limit, ...program })))

if (linux) {
  for (const { folder, name, room, limit } of combinations.slice(0, count(1, combinations.length))) {
    test.serial(`${name} in ${limit} MiB`, async (t) => {
      t.timeout(15 * 60 * 1000)
      const found = await contain(t, path.join(folder, `${name}.js`), limit * 2 ** 20)
      if (found === undefined) {
        t.log('no control group can be made here')
        t.pass()
        return
      }
      const { plain, runs, known, verdicts, seen, artifacts } = found
      if (plain.failure !== undefined) {
        t.log(`it does not run without this package: ${plain.failure}`)
        t.pass()
        return
      }
      t.deepEqual([...runs, ...known], new Array(runs.length + known.length).fill(plain))
      t.log(verdicts.map(({ engine, reason }) => `${engine}: ${reason}`).join('; '))
      t.deepEqual(seen, [], 'nothing waits')
      t.true(verdicts.length > 0)
      t.true(verdicts.every(({ reason }) => reason !== ''))
      if (limit >= room) t.true(artifacts > 0)
      t.true(verdicts.filter(({ engine }) => engine === 'ours').length <= artifacts)
    })
  }
} else test('control groups are of Linux', (t) => t.pass())
