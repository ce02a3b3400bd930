'use strict'
// Real programs under register with `engine: 'auto'`, some runs in a row in a control group with a memory limit, as in a
// container; the process that judges their modules is in it, too.

const { execFile } = require('node:child_process')
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const { judged, seen, verdicts } = require('./auto.js')
const { entries, environment, folder } = require('./commands.js')
const { memoryGroup } = require('./limits.js')
const { REGISTER } = require('./programs.js')

const RUNS = 10

/** Whoever left a module is taken for killed after a minute. */
const OLD = 120 // s

/** What a package's driver says of its outputs (../packages/loop.js), or the output. */
function digestOf(output) {
  try {
    return JSON.parse(output).digest
  } catch {
    return createHash('sha256').update(output).digest('hex')
  }
}

/** @returns {Promise<{digest?: string, failure?: string}>} */
function run(file, group, env) {
  return new Promise((resolve) => {
    const argv = ['-c', `echo $$ > ${group}/cgroup.procs && exec "$@"`, 'sh', process.execPath, file]
    const all = environment({ LOOPS: '1', WASM_COMPILE_CACHE_ENGINE: undefined, ...env })
    execFile('sh', argv, { env: all, maxBuffer: 1 << 26 }, (error, out, err) => {
      if (error === null) resolve({ digest: digestOf(out) })
      else resolve({ failure: `${error.signal ?? error.code}\n${err.slice(0, 1000)}` })
    })
  })
}

/** Lets what is left be taken up by the next run, as if it were old. */
function age(cache) {
  const then = Date.now() / 1000 - OLD
  for (const name of seen(cache)) fs.utimesSync(path.join(cache, 'seen', name), then, then)
}

/**
 * Runs a program in a container of `bytes`.
 *
 * @param {string} file
 * @returns {Promise<undefined | {plain: object, runs?: object[], known?: object[], verdicts?: object[], seen?: string[], artifacts?: number}>}
 *   `plain`: a run without this package, and nothing else where one fails; `known`: those of the runs that were made
 *   when all of its modules were known. undefined where no container can be made
 */
async function contain(t, file, bytes) {
  const group = memoryGroup(t, bytes)
  if (group === undefined) return undefined
  // What fits only just does not fit every time.
  const both = [await run(file, group, {}), await run(file, group, {})]
  const plain = both.find(({ failure }) => failure !== undefined) ?? both[0]
  if (plain.failure !== undefined) return { plain }
  const cache = folder(t)
  const env = {
    // By NODE_OPTIONS: packages start processes of their own.
    NODE_OPTIONS: `--require ${JSON.stringify(REGISTER)}`,
    WASM_COMPILE_CACHE: cache,
    WASM_COMPILE_CACHE_FINISH: 'now',
  }
  const runs = []
  for (let count = 0; count < RUNS; count++) runs.push(await run(file, group, env))
  await judged(cache)
  // What fits only just fits now and then.
  for (let count = 0; count < RUNS && runs.some(({ failure }) => failure !== undefined); count++) {
    const again = await run(file, group, {})
    if (again.failure !== undefined) return { plain: again }
  }
  const known = []
  // Where a program needed the memory that a judge had, the system ended that.
  if (seen(cache).length > 0) {
    age(cache)
    known.push(await run(file, group, env))
    await judged(cache)
  }
  known.push(await run(file, group, env))
  await judged(cache)
  return { plain, runs, known, verdicts: verdicts(cache), seen: seen(cache), artifacts: entries(cache).length }
}

module.exports = { contain }
