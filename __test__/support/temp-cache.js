'use strict'

// Loaded into every test process before its tests (ava.config.js): a fresh cache directory, gone with the process, and
// nothing of the caller's environment that would change what is tested. No finishers are left behind by default: a test
// that wants one sets WASM_COMPILE_CACHE_FINISH for the process it starts, and waits for it. Where scripts/suite.js asks
// for it, a file gets each test's time.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { fileURLToPath } = require('node:url')
const test = require('ava')
const { remove } = require('./remove.js')

for (const name of Object.keys(process.env)) {
  if (/^WASM_(?:DISABLE_)?COMPILE_CACHE/.test(name)) delete process.env[name]
}

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-test-'))
process.env.WASM_COMPILE_CACHE = directory
process.env.WASM_COMPILE_CACHE_FINISH = '0'
// What is tested is this package's engine; __test__/auto tests the choice.
process.env.WASM_COMPILE_CACHE_ENGINE = 'ours'

// A thread that stores an artifact may be at it until the process is gone.
process.on('exit', () => remove(directory))

// A test's share of its file's time: tests that run at the same time are counted from where the last one ended.
const times = process.env.TEST_TIMES
if (times !== undefined) {
  delete process.env.TEST_TIMES
  const begun = new Map()
  let last = 0
  const title = (t) => t.title.replace(/^(?:before|after)Each(?:\.always)? hook for /, '')
  test.beforeEach((t) => begun.set(title(t), performance.now()))
  test.afterEach.always((t) => {
    const now = performance.now()
    const ms = now - Math.max(last, begun.get(title(t)) ?? now)
    last = now
    const file = path.relative(path.join(__dirname, '..'), fileURLToPath(test.meta.file))
    fs.appendFileSync(times, `${JSON.stringify({ file, title: title(t), ms })}\n`)
  })
}
