'use strict'
// node permission.js <module> <end>: compiles a file by its URL. Prints, in JSON, the events, and the code of an error.
//
// end   'optimized'   the optimizing tier is waited for
//       'return'      the process ends at once

const { subscribe } = require('node:diagnostics_channel')
const fs = require('node:fs')
const { pathToFileURL } = require('node:url')

const { Module, compileStreaming } = require('../../../index.js')
const { NAMES } = require('../../../dist/engine.js').load('events/events.js')

const [, , file, end] = process.argv
const told = { events: [] }
for (const name of NAMES) subscribe(`wasm-compile-cache:${name}`, () => told.events.push(name))
// After the package's own handler.
process.on('exit', () => fs.writeSync(1, `${JSON.stringify(told)}\n`))

async function main() {
  try {
    const module = await compileStreaming(pathToFileURL(file), { minSize: 0 })
    if (end === 'optimized') await Module.optimized(module)
  } catch (error) {
    told.error = error.code
  }
  // Events that were queued meanwhile.
  await new Promise((resolve) => setImmediate(resolve))
}

main()
