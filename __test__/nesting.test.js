'use strict'
// WebAssembly and JavaScript that call each other in turns: how deep they get, and that nothing is different afterwards.

const { execFile } = require('node:child_process')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const { environment } = require('./support/commands.js')

const CHILD = path.join(__dirname, 'children/nesting.js')
const LEVELS = path.join(__dirname, 'children/levels.js')
const FULL = 'RangeError: Maximum call stack size exceeded'

/** What a child found on a main thread whose stack has `kilobytes`. */
async function run(engine, kilobytes, flags = [], child = CHILD) {
  const command = ['-c', `ulimit -s ${kilobytes} && exec "$@"`, 'sh', process.execPath, ...flags, child, engine]
  const { stdout } = await promisify(execFile)('sh', command, { env: environment({}) })
  return JSON.parse(stdout)
}

/** The stack is full in every round, and V8 has as much of it as before. */
function check(t, { before, rounds, after }) {
  t.deepEqual(
    rounds.map(({ error }) => error),
    [FULL, FULL, 'Error: far enough', FULL]
  )
  const [{ levels }, ...others] = rounds
  // More once V8 has compiled it with its better tiers.
  for (const round of others) if (round.levels !== 100) t.true(round.levels > levels * 0.9, `${levels}, then ${round.levels}`)
  t.true(Math.abs(after - before) < before / 20, `JavaScript: ${before}, then ${after}`)
  return levels
}

if (process.platform === 'linux') {
  test('on a main thread as deep as the built-in engine, or more than a thousand levels', async (t) => {
    const [ours, builtin] = await Promise.all([run('ours', 8192), run('builtin', 8192)])
    const levels = check(t, ours.main)
    t.log(`${levels} levels, built-in ${check(t, builtin.main)}`)
    t.true(levels > 1000)
    t.log(`in a worker ${check(t, ours.worker)} levels, built-in ${check(t, builtin.worker)}`)
  })

  test('a stack that has no more than V8 uses', async (t) => {
    const { main, worker } = await run('ours', 1100)
    t.true(check(t, main) > 100)
    check(t, worker)
  })

  test('the stack size that a program asks V8 for', async (t) => {
    const { main: small } = await run('ours', 8192, ['--stack-size=500'])
    t.true(check(t, small) > 1000)
    const { main: large } = await run('ours', 16384, ['--stack-size=4000'])
    t.true(check(t, large) > 2000)
  })

  test('a stack without a limit', async (t) => {
    const { main } = await run('ours', 'unlimited')
    t.true(check(t, main) > 1000)
  })

  test('more levels than a process has mappings for: the last are refused, and there is memory left', async (t) => {
    t.timeout(5 * 60 * 1000)
    for (const { levels, error, same, length } of await run('ours', 'unlimited', ['--stack-size=100000'], LEVELS)) {
      t.true(levels > 18_000, `${levels}`)
      t.is(error, FULL)
      t.true(same)
      t.is(length, 1_000_000)
    }
  })
}
