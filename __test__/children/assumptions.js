'use strict'
// node assumptions.js <job>: does what relies on an assumption, in a process in which it may not hold. Prints
// {result, events, off}: what came of it, the events that say what is off or panicked, and what native says is off.

const { subscribe } = require('node:diagnostics_channel')
const { once } = require('node:events')
const fs = require('node:fs')
const { Worker, isMainThread, parentPort } = require('node:worker_threads')

const JOB = process.argv[2]

// A Node that nobody has seen.
if (process.argv.includes('unknown-node')) {
  const versions = { ...process.versions, node: '99.1.0' }
  Object.defineProperty(process, 'versions', { value: versions, configurable: true })
}

const events = []
for (const name of ['featureOff', 'panicked']) {
  subscribe(`wasm-compile-cache:${name}`, ({ name, feature, reason, what, message }) =>
    events.push({ name, feature, reason, what, message })
  )
}

const { assemble } = require('./modules.js')
const W = require('../../index.js')
const { native } = require('../../dist/engine.js').load('process/native.js')

const instantiate = async (text, imports = {}) =>
  new W.Instance(await W.compile(await assemble(`(module ${text})`)), { e: imports }).exports

/** Which signals beyond the usual ones have a handler: those that interrupt are among the real-time ones. */
function realTimeHandlers() {
  const [, mask] = /^SigCgt:\s*([0-9a-f]+)$/m.exec(fs.readFileSync('/proc/self/status', 'utf8'))
  return Number(BigInt(`0x${mask}`) >> 33n)
}

const THROWN = new Error('thrown by an import')

const JOBS = {
  /** What stacks of WebAssembly are relied on for: calls, traps, what an import throws, what a handler catches. */
  async stacks() {
    const exports = await instantiate(
      `(import "e" "f" (func $f (param externref) (result externref))) (import "e" "throw" (func $throw)) (import "e" "tag" (tag $tag (param i32)))
       (func (export "pass") (param externref) (result externref) (call $f (local.get 0)))
       (func (export "trap") unreachable)
       (func (export "pass-on") (call $throw))
       (func (export "catch") (result i32) (block $l (result i32) (try_table (catch $tag $l) (call $throw)) (i32.const 0)))`,
      {
        tag,
        f: (value) => value,
        throw: () => {
          throw thrown
        },
      }
    )
    const outcome = (call) => {
      try {
        return call()
      } catch (error) {
        return error instanceof Error ? `${error.name}: ${error.message}` : error
      }
    }
    let same = 0
    for (let k = 0; k < 3000; k++) same += Number(exports.pass(JOBS) === JOBS)
    const first = [outcome(exports.trap), outcome(exports['pass-on'])]
    thrown = new W.Exception(tag, [7])
    return { same, first, caught: outcome(exports.catch), signals: realTimeHandlers() }
  },
  async nesting() {
    let levels = 0
    const exports = await instantiate('(import "e" "f" (func $f)) (func (export "call") (call $f))', {
      f: () => {
        levels++
        exports.call()
      },
    })
    const rounds = []
    for (let round = 0; round < 3; round++) {
      levels = 0
      try {
        exports.call()
      } catch ({ name, message }) {
        rounds.push({ levels, error: `${name}: ${message}` })
      }
    }
    return rounds
  },
  /** A worker that is in WebAssembly longer than a few ticks, and ends. */
  async worker() {
    const worker = new Worker(__filename, { argv: ['in-worker', JOB] })
    const [[message], [code]] = await Promise.all([once(worker, 'message'), once(worker, 'exit')])
    return { message, code, signals: realTimeHandlers() }
  },
  async examine() {
    native.examineFeatures()
  },
}
JOBS['unknown-node'] = JOBS.worker

const tag = new W.Tag({ parameters: ['i32'] })
let thrown = THROWN

async function main() {
  const result = await JOBS[JOB]()
  // Events are emitted from the event loop.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  process.stdout.write(JSON.stringify({ result, events, off: native.featuresOff() }))
}

async function inWorker() {
  const exports = await instantiate(
    `(func (export "count") (param i32) (result i32) (local i32)
       (loop (local.set 1 (i32.add (local.get 1) (i32.const 1))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
       (local.get 1))`
  )
  parentPort.postMessage(exports.count(1 << 28))
}

if (isMainThread) main()
else inWorker()
