'use strict'
// node fetched.js <job in JSON>: compiles what is at an address, and prints what became of it as JSON: `answer` (of the
// export of that name; it may import `env.table`) or `error`, `tier`, and every event.
//
// url      the address
// as       'url' (default), 'request' or 'response' (the program fetches)
// options  of compileStreaming
// later    milliseconds that the clock is ahead
// end      'optimized' (default: the optimizing tier is waited for), 'exit' (at once)

const job = JSON.parse(process.argv[2])

const { now } = Date
Date.now = () => now() + (job.later ?? 0)

const { subscribe } = require('node:diagnostics_channel')
const fs = require('node:fs')

const W = require('../../index.js')
const { NAMES } = require('../../dist/engine.js').load('events/events.js')

const told = { events: [] }
for (const name of NAMES) subscribe(`wasm-compile-cache:${name}`, (event) => told.events.push(event))
process.on('exit', () => fs.writeSync(1, JSON.stringify(told)))

const sources = {
  url: () => new URL(job.url),
  request: () => new Request(job.url),
  response: () => fetch(job.url),
}

async function main() {
  const module = await W.compileStreaming(sources[job.as ?? 'url'](), job.options)
  told.tier = W.Module.tier(module)
  const table = new W.Table({ element: 'anyfunc', initial: 1 })
  told.answer = new W.Instance(module, { env: { table } }).exports.answer()
  if (job.end === 'exit') process.exit()
  if (job.options?.optimize !== false) await W.Module.optimized(module)
}

main().catch(({ name, message, code, cause }) => {
  told.error = { name, message, code, cause: cause?.code }
})
