'use strict'
// cluster under `engine: 'auto'`, for modules of either verdict. jest and vitest are in ./examples.test.js, the inspector and
// profiles in ./inspector.test.js, contexts and threads in ./auto.test.js.

const path = require('node:path')
const test = require('ava')

const { judged, seen, verdicts, warm } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { program, REGISTER } = require('./support/programs.js')

const CLUSTER = path.join(__dirname, 'children/cluster.js')
const SQLITE = require.resolve('sql.js/dist/sql-wasm.wasm')

/** What a primary and its two workers saw, and on which engine. */
async function cluster(env) {
  const { told, stderr } = await program(CLUSTER, [], { env: { WASM_COMPILE_CACHE_ENGINE: undefined, ...env } })
  return { tiers: told.all.map(({ tier }) => tier), seen: told.all.map((one) => one.seen), ends: told.ends, stderr }
}

const registered = (cache, env) =>
  cluster({ NODE_OPTIONS: `--require ${JSON.stringify(REGISTER)}`, WASM_COMPILE_CACHE: cache, ...env })

/** Three processes that saw what they see without this package. */
function sameButFor(t, found, expected, tier) {
  t.deepEqual(found, { ...expected, tiers: [tier, tier, tier] })
}

test('the processes of cluster run as without this package, whatever is known of their module', async (t) => {
  const plain = await cluster({})
  t.deepEqual(plain.ends, [
    [0, null],
    [0, null],
  ])
  t.is(plain.stderr, '')
  sameButFor(t, await registered(folder(t)), plain, 'builtin')
  const cache = folder(t)
  await warm(cache, SQLITE)
  sameButFor(t, await registered(cache), plain, 'optimized')
})

if (linux) {
  test('what they leave becomes known, once for all of them', async (t) => {
    const cache = folder(t)
    const first = await registered(cache, { WASM_COMPILE_CACHE_FINISH: 'now' })
    t.deepEqual(first.tiers, ['builtin', 'builtin', 'builtin'])
    await judged(cache)
    t.deepEqual(seen(cache), [])
    t.is(verdicts(cache).length, 1)
    t.like(verdicts(cache)[0], { engine: 'ours', basis: 'artifact' })
    sameButFor(t, await registered(cache), first, 'optimized')
  })
}
