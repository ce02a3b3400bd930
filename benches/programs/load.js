'use strict'
// load.js file [url]: milliseconds from the module's bytes, or from its file: URL (reading included,
// where there is any), to a WebAssembly.Module.

const { readFileSync } = require('node:fs')
const { pathToFileURL } = require('node:url')

const [file, from] = process.argv.slice(2)

async function main() {
  // The built-in has no file: URLs. It gets the bytes, and their reading for nothing.
  const url = from === 'url' && WebAssembly.Module.tier ? pathToFileURL(file) : undefined
  const bytes = url ? undefined : readFileSync(file)
  const started = performance.now()
  const module = url ? await WebAssembly.compileStreaming(url) : await WebAssembly.compile(bytes)
  const ms = performance.now() - started
  console.log(JSON.stringify({ ms, exports: WebAssembly.Module.exports(module).length }))
  process.exit() // a background compile may still run: not measured here
}

main()
