'use strict'

// A process of the doctor's: compiles a small module, waits until it is stored, runs it, and prints what happened as JSON.
// A second one finds what the first has stored.

const { subscribe } = require('node:diagnostics_channel')

const { cache, compile, Instance, Module } = require('../../index.js')
const { NAMES } = require('../events/events.js')

// (module (func (export "answer") (result i32) (i32.const 42)))
const ANSWER = Buffer.from('0061736d010000000105016000017f03020100070a0106616e7377657200000a06010400412a0b', 'hex')

const events = []
for (const name of NAMES) subscribe(`wasm-compile-cache:${name}`, (event) => events.push(event))

async function main() {
  const module = await compile(ANSWER, { minSize: 0 })
  await Module.optimized(module)
  await cache.flush()
  const { answer } = new Instance(module).exports
  process.stdout.write(JSON.stringify({ answer: answer(), events }))
}

main()
