'use strict'
// Has a large module transform a line, and says what came of it; or says that it begins, and stays in WebAssembly.

const fs = require('node:fs')
const { parentPort, workerData } = require('node:worker_threads')
const { variant } = require('./modules.js')

// Another module in each round: what was compiled in one is not there in the next.
const { readFileSync } = fs
fs.readFileSync = (file, ...rest) => {
  const content = readFileSync(file, ...rest)
  return `${file}`.endsWith('.wasm') ? Buffer.from(variant(content, `${workerData.round}`)) : content
}
globalThis.WebAssembly = require('../../index.js').WebAssembly

if (workerData.isEnded) parentPort.postMessage('begins')
const { transformSync } = require('@swc/wasm')
do {
  const { code } = transformSync('a+1', {})
  if (!workerData.isEnded) parentPort.postMessage(code)
} while (workerData.isEnded)
