'use strict'
// Thousands of instances, each caught in a cycle through its own import, leave the process as it was.

const { execFile } = require('node:child_process')
const path = require('node:path')
const test = require('ava')
const { count } = require('./support/stress.js')

const register = path.join(__dirname, '../register.js')

function instances(env) {
  // The young generation's growth to 48 MB would be all that RSS shows.
  const args = ['--expose-gc', '--max-semi-space-size=1', '--require', register, path.join(__dirname, 'children/instances.js')]
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      args,
      { env: { ...process.env, WASM_DISABLE_COMPILE_CACHE: '1', ...env } },
      (error, stdout, stderr) => {
        if (error) reject(new Error(`${error.signal ?? error.code}\n${stderr}`, { cause: error }))
        else resolve(JSON.parse(stdout))
      }
    )
  })
}

// The allocators of Node, V8 and the engine keep pages for later, so RSS may rise in many rounds, until they have enough. What
// is lost with every instance never is enough: 300 bytes an instance are less than the smallest part of a store.
const LOSS = 300
const SPAN = 5 // rounds, as in the child

async function leavesNothing(t, many, env) {
  t.timeout(5 * 60 * 1000)
  const made = await instances({ INSTANCES: String(many), RISE: String(SPAN * LOSS * many), ...env })
  t.true(made.ours)
  for (const { stores } of made.rounds) t.is(stores, made.before)
  const sizes = made.rounds.map(({ rss }) => rss)
  t.log(`RSS after each round: ${sizes.map((rss) => rss >> 20).join(', ')} MiB`)
  t.true(sizes.at(-1) - sizes.at(-1 - SPAN) < SPAN * LOSS * many, 'RSS never stopped to rise')
}

test.serial('instances with closures over themselves are collected', (t) => leavesNothing(t, count(1000, 10_000), {}))

test.serial('so are instances with a memory of their own', (t) => leavesNothing(t, count(250, 2000), { MEMORY: '1' }))
