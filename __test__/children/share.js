'use strict'
// node share.js <module> <calls in JSON>: two worker threads compile the same bytes at the same moment. Prints what each
// got and heard.

const { subscribe } = require('node:diagnostics_channel')
const { once } = require('node:events')
const fs = require('node:fs')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')

const LARGE = require.resolve('sql.js/dist/sql-wasm.wasm')
const WORKERS = 2

/** Returns when all workers have come here. */
function meet(gate) {
  if (Atomics.add(gate, 0, 1) === WORKERS - 1) Atomics.notify(gate, 0)
  for (let met = Atomics.load(gate, 0); met < WORKERS; met = Atomics.load(gate, 0)) Atomics.wait(gate, 0, met)
}

async function work({ gate, file, calls }) {
  const W = require('../../index.js')
  const { NAMES } = require('../../dist/engine.js').load('events/events.js')
  const bytes = fs.readFileSync(file)
  // Keeps the optimizing tier busy until both have compiled.
  const busy = await W.compile(fs.readFileSync(LARGE), { cache: false, baseline: 'eager' })
  const events = []
  for (const name of NAMES) subscribe(`wasm-compile-cache:${name}`, (event) => event.bytes === bytes.length && events.push(event))
  meet(gate)
  const module = new W.Module(bytes)
  const { exports } = new W.Instance(module, { env: { tick: (x) => x + 1 } })
  const results = calls.map(([name, ...parameters]) => exports[name](...parameters))
  await W.Module.optimized(module)
  await new Promise((resolve) => setImmediate(resolve))
  parentPort.postMessage({ results, events, tier: W.Module.tier(module) })
  // The other one may not have it yet.
  meet(gate.subarray(1))
  return busy
}

async function main(file, calls) {
  const gate = new Int32Array(new SharedArrayBuffer(8))
  const workers = Array.from({ length: WORKERS }, () => new Worker(__filename, { workerData: { gate, file, calls } }))
  const told = await Promise.all(workers.map((worker) => once(worker, 'message')))
  console.log(JSON.stringify(told.map(([message]) => message)))
}

if (isMainThread) main(process.argv[2], JSON.parse(process.argv[3]))
else work(workerData)
