'use strict'
// node --require register.js prime.js file…: fills the cache with the artifacts of these modules, and
// prints for each whether it was there already.

const { subscribe } = require('node:diagnostics_channel')
const { EventEmitter, once } = require('node:events')
const { statSync } = require('node:fs')
const { pathToFileURL } = require('node:url')

const CACHED_FROM = 128 * 1024

const seen = new EventEmitter()
const stored = new Map()
for (const name of ['cachedModule', 'moduleCacheHit', 'cacheWriteFailed']) {
  subscribe(`wasm-compile-cache:${name}`, (event) => {
    stored.set(event.hash, event)
    seen.emit('event')
  })
}

async function main() {
  const alive = setInterval(() => {}, 1 << 30) // events do not keep a process
  const found = []
  for (const file of process.argv.slice(2)) {
    const events = stored.size
    const module = await WebAssembly.compileStreaming(pathToFileURL(file))
    found.push(WebAssembly.Module.tier(module) === 'optimized')
    await WebAssembly.Module.optimized(module)
    while (stored.size === events && statSync(file).size >= CACHED_FROM) await once(seen, 'event')
  }
  clearInterval(alive)
  for (const event of stored.values()) {
    if (event.name === 'cacheWriteFailed') throw new Error(JSON.stringify(event))
  }
  console.log(JSON.stringify(found))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
