'use strict'
// lookup.js file: milliseconds from a file: URL to a WebAssembly.Module, and how many of them were not spent on mapping
// the artifact. The built-in has no file: URLs; there it is given the bytes, and their reading is not counted.

const { subscribe } = require('node:diagnostics_channel')
const { readFileSync } = require('node:fs')
const { pathToFileURL } = require('node:url')

const [file] = process.argv.slice(2)
const hits = []
subscribe('wasm-compile-cache:moduleCacheHit', (event) => hits.push(event))

async function main() {
  const isOurs = WebAssembly.Module.tier !== undefined
  const source = isOurs ? pathToFileURL(file) : readFileSync(file)
  const started = performance.now()
  await (isOurs ? WebAssembly.compileStreaming(source) : WebAssembly.compile(source))
  const load = performance.now() - started
  if (hits.length === 1) await new Promise(setImmediate)
  const [hit] = hits
  console.log(JSON.stringify({ load, beyond: hit && load - hit.mapping, artifact: hit?.artifactBytes }))
  process.exit() // a background compile may still run: not measured here
}

main()
