'use strict'
// One worker thread of workers.js: compiles, calls with import callbacks, waits for the swap, and
// says before each step that it is about to take it. It may be terminated at any of them.

const { parentPort, workerData } = require('node:worker_threads')

if (workerData.register) require(workerData.register)
const { bytes, expected, sync, streaming } = workerData
const say = (phase) => parentPort.postMessage(phase)

async function compile() {
  if (sync) return new WebAssembly.Module(bytes)
  if (!streaming) return WebAssembly.compile(bytes)
  const body = new ReadableStream({
    start() {
      this.at = 0
    },
    pull(controller) {
      controller.enqueue(bytes.subarray(this.at, (this.at += 8192)))
      if (this.at >= bytes.length) controller.close()
    },
  })
  return WebAssembly.compileStreaming(new Response(body, { headers: { 'content-type': 'application/wasm' } }))
}

async function main() {
  say('compile')
  const module = await compile()
  say('instantiate')
  let calls = 0
  const tick = (x) => {
    calls++
    return x + 1
  }
  const { exports } = await WebAssembly.instantiate(module, { env: { tick } })
  const check = () => {
    const got = exports.run(20)
    if (got !== expected) throw new Error(`run(20) gave ${got}, not ${expected}, after ${calls} callbacks`)
  }
  say('call')
  check()
  let swapped = WebAssembly.Module.optimized === undefined
  WebAssembly.Module.optimized?.(module).then(() => (swapped = true))
  say('swap')
  while (!swapped) {
    check()
    await new Promise((resolve) => setImmediate(resolve))
  }
  say('swapped')
  for (let i = 0; i < 5; i++) check()
  exports.memory.grow(1)
  check()
  say('end')
}

main()
