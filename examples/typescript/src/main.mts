// An ES module. Importing the register entry puts the package in the place of the global WebAssembly, and gives its
// functions this package's sources and options.
import 'wasm-compile-cache/register'
import { Module, compileStreaming, type EventMap } from 'wasm-compile-cache'
import { subscribe } from 'node:diagnostics_channel'
import { md5 } from 'hash-wasm'

const compiled: string[] = []
subscribe('wasm-compile-cache:compiledModule', (message) => {
  const event = message as EventMap['compiledModule']
  compiled.push(`${event.bytes} bytes`)
})

const file = new URL(import.meta.resolve('sql.js/dist/sql-wasm.wasm'))
const one = await WebAssembly.compileStreaming(file, { cache: 'read-only', signal: AbortSignal.timeout(60_000) })
const two = await compileStreaming(file)
console.log(`ES module: ${Module.exports(one).length === Module.exports(two).length ? 'the same exports' : 'other exports'}`)

// Any other package runs on it, too.
console.log(`md5 of nothing: ${await md5('')}`)
console.log(compiled.length >= 3 ? 'each was compiled here' : `only ${compiled}`)
