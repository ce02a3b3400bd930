'use strict'
// WebAssembly and JavaScript that call each other in turns, as deep as the stack allows, and what is left of it then.
// Prints JSON.

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')

const { assemble } = require('./modules.js')

const ENGINE = process.argv[2]
const { Instance, Module } = ENGINE === 'builtin' ? WebAssembly : require('../../index.js')

/** How deep JavaScript alone can go. */
function scriptDepth() {
  let depth = 0
  const deeper = () => {
    depth++
    deeper()
  }
  try {
    deeper()
  } catch {
    return depth
  }
}

function observe(bytes) {
  let levels
  let last
  const { exports } = new Instance(new Module(bytes), {
    env: {
      deeper() {
        if (++levels === last) throw new Error('far enough')
        exports.call()
      },
    },
  })
  /** How deep it went, and what ended it. */
  const nest = (end) => {
    levels = 0
    last = end
    try {
      exports.call()
    } catch ({ name, message }) {
      return { levels, error: `${name}: ${message}` }
    }
  }
  // Compiled by V8's own tiers, frames take less.
  for (let round = 0; round < 5; round++) scriptDepth()
  const before = scriptDepth()
  const rounds = [nest(), nest(), nest(100), nest()]
  return { before, rounds, after: scriptDepth() }
}

const text = '(module (import "env" "deeper" (func $deeper)) (func (export "call") call $deeper))'

if (isMainThread) {
  assemble(text).then((bytes) => {
    const main = observe(bytes)
    new Worker(__filename, { workerData: bytes, argv: [ENGINE] }).once('message', (worker) =>
      console.log(JSON.stringify({ main, worker }))
    )
  })
} else {
  parentPort.postMessage(observe(workerData))
}
