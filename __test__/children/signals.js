'use strict'
// node [--require register] signals.js <module file> <signal> <job>: uses WebAssembly, and does what the job says with the
// signal. It prints what it lives to see. The module is that of ../signals.test.js.

const fs = require('node:fs')
const { runInNewContext } = require('node:vm')
const { Worker, isMainThread, workerData } = require('node:worker_threads')

const [file, name, job, buffer] = isMainThread ? process.argv.slice(2) : workerData
const signal = /^\d+$/.test(name) ? Number(name) : name

const print = (line) => fs.writeSync(1, `${line}\n`)
const heard = () => print(`heard ${signal}`)
// To the process: of its threads that do not block it, Linux has the main one take it, or the one that sends.
const send = () => process.kill(process.pid, signal)

function instantiate(engine) {
  const imports = { env: { call: () => {} } }
  const instance = new engine.Instance(new engine.Module(fs.readFileSync(file)), {
    env: { call: (argument) => imports.env.call(argument) },
  })
  return { ...instance.exports, calls: (callee) => (imports.env.call = callee) }
}

/** Fails in every way that makes a fault of the processor in one engine or another. */
function trap({ divide, unreachable, load }) {
  for (const fail of [() => divide(1, 0), unreachable, () => load(65536), () => load(0x7fffffff)]) {
    try {
      fail()
    } catch ({ name, message }) {
      print(`${name}: ${message}`)
    }
  }
}

// Node is told to allow more stack than there is (--stack-size).
const overflow = () => overflow() + 1

const jobs = {
  /** In JavaScript. */
  outside: send,
  /** In an import. */
  inside(wasm) {
    wasm.calls(send)
    wasm.call()
  },
  /** In compiled code, which says so in its memory. */
  looping(wasm) {
    new Worker(__filename, { workerData: [file, name, 'send', wasm.memory.buffer] })
    wasm.loop()
  },
  send() {
    Atomics.wait(new Int32Array(buffer), 0, 0)
    send()
  },
  listening(wasm) {
    const alive = setInterval(() => {}, 1000)
    process.once(signal, () => {
      heard()
      clearInterval(alive)
    })
    trap(wasm)
    send()
  },
  unlistened(wasm) {
    process.on(signal, heard)
    process.off(signal, heard)
    trap(wasm)
    process.once(signal, heard)
    process.removeAllListeners(signal)
    trap(wasm)
    send()
  },
  overflow,
  overflowInside(wasm) {
    wasm.calls(overflow)
    wasm.call()
  },
  /** What this program's engine cannot compile, the built-in one does, which has faults of its own. */
  builtin(wasm) {
    const theirs = instantiate(runInNewContext('WebAssembly'))
    trap(theirs)
    wasm.calls(() => trap(theirs))
    wasm.call()
    theirs.calls(() => trap(wasm))
    theirs.call()
    trap(wasm)
  },
  worker() {
    new Worker(__filename, { workerData: [file, name, 'outside'] })
  },
  workerInside() {
    new Worker(__filename, { workerData: [file, name, 'inside'] })
  },
  workerUnlistened(wasm) {
    process.on(signal, heard)
    process.off(signal, heard)
    trap(wasm)
    new Worker(__filename, { workerData: [file, name, 'trap'] })
  },
  trap,
}

const wasm = instantiate(WebAssembly)
wasm.call()
jobs[job](wasm)
// A thread may live on for a moment after the process was ended.
if (isMainThread) print('after')
