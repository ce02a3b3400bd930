'use strict'
// lookup.js file: milliseconds from a file: URL to a WebAssembly.Module, and how many of them native took for anything
// but mapping the artifact. The built-in has no file: URLs; it is given the bytes, and their reading is not counted.

const { subscribe } = require('node:diagnostics_channel')
const { readFileSync } = require('node:fs')
const { pathToFileURL } = require('node:url')

const [file] = process.argv.slice(2)
const events = new Map()
for (const name of ['compiledModule', 'moduleCacheHit']) {
  subscribe(`wasm-compile-cache:${name}`, (event) => events.set(name, event))
}

async function main() {
  const isOurs = WebAssembly.Module.tier !== undefined
  const source = isOurs ? pathToFileURL(file) : readFileSync(file)
  const started = performance.now()
  await (isOurs ? WebAssembly.compileStreaming(source) : WebAssembly.compile(source))
  const load = performance.now() - started
  const hit = events.get('moduleCacheHit')
  console.log(JSON.stringify({ load, lookup: hit && events.get('compiledModule').dur - hit.mapping }))
  process.exit() // a background compile may still run: not measured here
}

main()
