'use strict'
// The receiving thread of posting.test.js. Uses what it got and tells what it found.

const { subscribe } = require('node:diagnostics_channel')
const { parentPort, workerData } = require('node:worker_threads')

const installed = process.execArgv.includes('--require')
const W = require('../../index.js')
const { NAMES } = require('../../dist/engine.js').load('events/events.js')

let compiles = 0
for (const name of NAMES) subscribe(`wasm-compile-cache:${name}`, () => compiles++)

function work({ modules, memory }) {
  const namespace = installed ? WebAssembly : W
  const found = {
    instances: modules.map((module) => module instanceof namespace.Module),
    memory: memory instanceof namespace.Memory,
  }
  found.results = modules.map((module) => new namespace.Instance(module, { m: { f: (x) => x * 2 } }).exports.run(20))
  found.constructors = modules.map((module) => module.constructor === namespace.Module)
  memory.grow(1)
  new Int32Array(memory.buffer)[0] = 7
  found.grown = memory.buffer.byteLength / 65536
  found.compiles = compiles
  parentPort.postMessage(found)
}

if (workerData) work(workerData)
else parentPort.once('message', work)
