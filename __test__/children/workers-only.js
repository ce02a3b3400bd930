'use strict'
// node workers-only.js <large module> <module> <end>: the main thread does not load the package; a worker compiles both
// modules, the large one not to be cached, and the process ends before the optimizing tier is done: when the worker is
// over ('return'), when it has been terminated ('terminate'), or by process.exit() ('exit').

const fs = require('node:fs')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')

async function work([large, file]) {
  const W = require('../../index.js')
  await W.compile(fs.readFileSync(large), { cache: false, baseline: 'eager' })
  await W.compile(fs.readFileSync(file))
  parentPort.postMessage('compiled')
}

function main([large, file, end]) {
  const worker = new Worker(__filename, { workerData: [large, file] })
  if (end === 'exit') worker.on('message', () => process.exit())
  if (end === 'terminate') worker.on('message', () => worker.terminate())
}

if (isMainThread) main(process.argv.slice(2))
else work(workerData)
