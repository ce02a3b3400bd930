'use strict'
// A program on a cache that is in its way: its results are right, it ends as it would, and it is told once.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { named, run, story, warned } = require('./commands.js')
const { machine } = require('./wat.js')
const { remove } = require('./remove.js')

const CALLS = [
  ['run', 9],
  ['run', -1],
]
const ROOT = process.getuid?.() === 0

// What root may do to any file is taken from it; it is the owner of what it makes all the same.
const UNDER = ROOT ? ['setpriv', '--bounding-set=-all', '--inh-caps=-all'] : []

/** A module's file, for as long as the tests of the caller's file run: `file`, `expected` results of its calls. */
function subject(test) {
  const made = { file: '', expected: [] }
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-modules-'))
  test.after.always(() => remove(root))
  test.before(async () => {
    // For programs of other users, too.
    fs.chmodSync(root, 0o755)
    made.file = path.join(root, 'machine.wasm')
    const bytes = await machine()
    fs.writeFileSync(made.file, bytes)
    // A file that has just changed is not recorded.
    const old = new Date(Date.now() - 60_000)
    fs.utimesSync(made.file, old, old)
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { tick: (x) => x + 1 } })
    made.expected = CALLS.map(([name, ...parameters]) => exports[name](...parameters))
  })
  /** One module a way of asking, each in a partition of its own, so that none is shared. */
  made.job = (...ways) => ({
    modules: (ways.length > 0 ? ways : ['bytes']).map((as) => ({
      file: made.file,
      as,
      options: { minSize: 0, partition: as },
      calls: CALLS,
    })),
  })
  return made
}

/**
 * Runs a job on a cache that may be in its way.
 *
 * Results, exit code and stdout are checked (`run`); stderr has nothing but one warning if something was told to have
 * failed, which is the first of that, and nothing at all otherwise.
 */
async function endure(t, { expected }, job, settings) {
  const ended = await run(job, settings)
  for (const { results } of ended.modules) t.deepEqual(results, expected)
  const { warnings, rest } = warned(ended)
  t.is(rest, '', "stderr is the program's")
  const failures = named(ended, 'cacheWriteFailed')
  const first = failures.slice(0, 1).map(({ code, reason }) => ({ name: 'WasmCompileCacheWarning', code, message: reason }))
  t.deepEqual(warnings, first, 'one warning for all')
  for (const { path, reason } of failures) t.true(path === undefined || reason.includes(path), reason)
  return { ...ended, failures, story: story(ended) }
}

module.exports = { CALLS, ROOT, UNDER, endure, subject }
