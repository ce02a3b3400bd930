'use strict'
// Worker threads that come and go at any moment take nothing down with them.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')
const { count } = require('./support/stress.js')
const { remove } = require('./support/remove.js')

const register = path.join(__dirname, '../register.js')
// Large enough to be cached, so that terminations meet lookups and writes as well.
const cache = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-workers-'))
test.after.always(() => remove(cache))

const rounds = `${count(12, 500)}`

function workers(env) {
  return new Promise((resolve, reject) => {
    const all = { ...process.env, REGISTER: register, WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env }
    execFile(process.execPath, [path.join(__dirname, 'children/workers.js')], { env: all }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.signal ?? error.code}\n${stderr}`, { cause: error }))
      else resolve(JSON.parse(stdout))
    })
  })
}

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0)

test.serial('workers with one module, started and terminated at random', async (t) => {
  t.timeout(20 * 60 * 1000)
  const { ours, counts } = await workers({ ROUNDS: rounds, SEED: process.env.SEED ?? '1' })
  t.true(ours)
  t.is(sum(counts), Number(rounds))
  t.log(counts)
})

test.serial('a worker alone with the addon, terminated during a background compile', async (t) => {
  t.timeout(5 * 60 * 1000)
  const { ours, counts } = await workers({ ROUNDS: '20', LONELY: '1' })
  t.false(ours, 'the main thread has the built-in')
  t.deepEqual(counts, { swap: 20 })
})
