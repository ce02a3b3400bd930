'use strict'
// stream.js file: the module arrives at 10 MB/s; milliseconds from its last byte to the resolved
// promise. stream.js file eager: all bytes are there; milliseconds to the resolved promise.

const { readFileSync } = require('node:fs')
const { setTimeout: wait } = require('node:timers/promises')

const RATE = 10_000 // bytes a millisecond
const CHUNK = 65_536

const [file, eager] = process.argv.slice(2)
const bytes = new Uint8Array(readFileSync(file))

async function main() {
  let started = performance.now()
  let module
  if (eager) {
    module = await WebAssembly.compile(bytes)
  } else {
    let sent = 0
    const body = new ReadableStream({
      async pull(controller) {
        const chunk = bytes.slice(sent, sent + CHUNK)
        const due = started + (sent + chunk.length) / RATE
        if (due > performance.now()) await wait(due - performance.now())
        controller.enqueue(chunk)
        sent += chunk.length
        if (sent < bytes.length) return
        started = performance.now()
        controller.close()
      },
    })
    module = await WebAssembly.compileStreaming(new Response(body, { headers: { 'content-type': 'application/wasm' } }))
  }
  const ms = performance.now() - started
  console.log(JSON.stringify({ ms, exports: WebAssembly.Module.exports(module).length }))
  process.exit()
}

main()
