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

// The allocators of Node, V8 and the engine keep pages for later, so RSS may rise in some rounds. What is lost with
// every instance makes it rise in every round: 300 bytes an instance, less than the smallest part of a store, are
// 3 MB in a round of 10,000.
const least = ({ rounds }) => Math.min(...rounds.slice(1).map(({ rss }, at) => rss - rounds[at].rss))

async function leavesNothing(t, many, env) {
  t.timeout(5 * 60 * 1000)
  const made = await instances({ INSTANCES: String(many), ...env })
  t.true(made.ours)
  for (const { stores } of made.rounds) t.is(stores, made.before)
  t.log(`RSS after each round: ${made.rounds.map(({ rss }) => rss >> 20).join(', ')} MiB`)
  t.true(least(made) < 300 * many, `RSS grew by ${least(made)} bytes or more in every round`)
}

test.serial('instances with closures over themselves are collected', (t) => leavesNothing(t, count(1000, 10_000), {}))

test.serial('so are instances with a memory of their own', (t) => leavesNothing(t, count(250, 2000), { MEMORY: '1' }))
