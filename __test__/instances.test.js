'use strict'
// Ten thousand instances, each caught in a cycle through its own import, leave the process as it was.

const { execFile } = require('node:child_process')
const path = require('node:path')
const test = require('ava')

const register = path.join(__dirname, '../register.js')

function instances(env) {
  // The young generation's growth to 48 MB would be all that RSS shows.
  const args = ['--expose-gc', '--max-semi-space-size=1', '--require', register, path.join(__dirname, 'children/instances.js')]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env: { ...process.env, WASM_DISABLE_COMPILE_CACHE: '1', ...env } }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.signal ?? error.code}\n${stderr}`, { cause: error }))
      else resolve(JSON.parse(stdout))
    })
  })
}

// The allocators of Node, V8 and the engine keep pages for later, so the first round only warms
// them up. After it, 12 MiB more over two rounds would be 630 bytes an instance: less than the
// smallest store, so that no part of one can hide in it. (Seen on the built-in: up to 2.5 MiB.)
const bound = 12 * 1024 * 1024

test.serial('10,000 instances with closures over themselves are collected', async (t) => {
  t.timeout(5 * 60 * 1000)
  const { ours, before, warm, again, last } = await instances({ INSTANCES: '10000' })
  t.true(ours)
  t.deepEqual([warm.stores, again.stores, last.stores], [before, before, before])
  t.log(`RSS after the warm-up, and two rounds later: ${warm.rss >> 20}, ${last.rss >> 20} MiB`)
  t.true(last.rss - warm.rss < bound, `RSS grew by ${last.rss - warm.rss} bytes in 20,000 instances`)
})

test.serial('so are instances with a memory of their own', async (t) => {
  t.timeout(5 * 60 * 1000)
  const { before, warm, again, last } = await instances({ INSTANCES: '2000', MEMORY: '1' })
  t.deepEqual([warm.stores, again.stores, last.stores], [before, before, before])
  t.true(last.rss - warm.rss < bound, `RSS grew by ${last.rss - warm.rss} bytes in 4,000 instances`)
})
