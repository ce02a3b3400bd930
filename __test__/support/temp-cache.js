'use strict'

// Loaded into every test process before its tests (ava.config.js): a fresh cache directory, gone with the process, and
// nothing of the caller's environment that would change what is tested. No finishers are left behind by default: a test
// that wants one sets WASM_COMPILE_CACHE_FINISH for the process it starts, and waits for it.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

for (const name of Object.keys(process.env)) {
  if (/^WASM_(?:DISABLE_)?COMPILE_CACHE/.test(name)) delete process.env[name]
}

const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-test-'))
process.env.WASM_COMPILE_CACHE = directory
process.env.WASM_COMPILE_CACHE_FINISH = '0'

// A thread that stores an artifact may be at it until the process is gone.
process.on('exit', () => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
