'use strict'

// The core specification's scripts (./spec), command by command on the built-in and on our engine: what the built-in of the
// running Node passes passes here. In the lazy baseline; under stress on one Node in every tier and from the cache.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const test = require('ava')

const { build, names } = require('./spec/scripts.js')
const { isStress } = require('./support/stress.js')

const CHILD = path.join(__dirname, 'children/spec.js')

// Most of the time goes into flushing a small artifact for each module to the disk, one at a time in a process.
const CHILDREN = 4

/** How many scripts a process runs: an emulated one never gives back what its memories took. */
const PORTION = 20

// 'hot' finds what 'optimized' has stored, in processes that did not compile it.
const MODES = isStress && process.versions.node.startsWith('20.') ? ['baseline', 'lazy', 'optimized', 'hot'] : ['lazy']

/** Runs `names` in a process; what came of each. */
async function child(job) {
  const started = spawn(process.execPath, [CHILD, JSON.stringify(job)], { stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  started.stdout.setEncoding('utf8').on('data', (text) => (stdout += text))
  const [code, signal] = await once(started, 'close')
  const lines = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  if (code !== 0) throw new Error(`the process ended with ${signal ?? code} in ${lines.at(-1).began}`)
  return lines.filter(({ began }) => began === undefined)
}

async function run(mode) {
  const program = build()
  const left = names(program)
  const results = []
  const work = async () => {
    while (left.length > 0) results.push(...(await child({ program, mode, names: left.splice(-PORTION) })))
  }
  await Promise.all(Array.from({ length: CHILDREN }, work))
  return results.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** Logs a line for each script, and the sums of each folder. */
function log(t, results) {
  const folders = new Map()
  const line = (name, { builtin, ours }) =>
    t.log(
      `${name}: built-in ${builtin.passed} passed, ${builtin.failed} failed; ` +
        `ours ${ours.passed} passed, ${ours.failed} failed, ${ours.excused} excused`
    )
  for (const { name, builtin, ours } of results) {
    line(name, { builtin, ours })
    const folder = path.dirname(name)
    const sums = folders.get(folder) ?? { builtin: { passed: 0, failed: 0 }, ours: { passed: 0, failed: 0, excused: 0 } }
    for (const key of Object.keys(builtin)) sums.builtin[key] += builtin[key]
    for (const key of Object.keys(ours)) sums.ours[key] += ours[key]
    folders.set(folder, sums)
  }
  for (const [folder, sums] of folders) line(`${folder}/`, sums)
}

for (const mode of MODES) {
  let results

  test.serial(`${mode}: what the built-in passes passes`, async (t) => {
    t.timeout(15 * 60 * 1000)
    results = await run(mode)
    log(t, results)
    // Node 20's built-in passes 82,000 commands, and newer ones more: no script was lost on the way.
    t.true(results.reduce((all, { builtin }) => all + builtin.passed, 0) > 80_000)
    t.deepEqual(
      results.flatMap(({ differences }) => differences),
      []
    )
  })

  test.serial(`${mode}: traps have the built-in's words`, (t) => {
    t.deepEqual(
      results.flatMap(({ words }) => words),
      []
    )
  })
}
