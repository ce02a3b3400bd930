'use strict'
// node mapped.js <module> <calls in JSON>: the main thread and two workers compile the same bytes and call the exports.
// Prints what each got, as JSON, and stays until its stdin ends.

const { once } = require('node:events')
const fs = require('node:fs')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')

const W = require('../../index.js')

const kept = []

function use({ file, calls }) {
  const module = new W.Module(fs.readFileSync(file))
  const { exports } = new W.Instance(module, { env: { tick: (x) => x + 1 } })
  kept.push(exports)
  return { tier: W.Module.tier(module), results: calls.map(([name, ...parameters]) => exports[name](...parameters)) }
}

async function main(file, calls) {
  const job = { file, calls: JSON.parse(calls) }
  const workers = [1, 2].map(() => new Worker(__filename, { workerData: job }))
  const told = await Promise.all(workers.map((worker) => once(worker, 'message')))
  console.log(JSON.stringify([use(job), ...told.flat()]))
  process.stdin.resume().on('end', () => process.exit())
}

if (isMainThread) main(process.argv[2], process.argv[3])
else {
  parentPort.postMessage(use(workerData))
  parentPort.on('message', () => {})
}
