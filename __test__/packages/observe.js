'use strict'
// Preloaded after register.js: appends every event of the package to the file EVENTS.

const { subscribe } = require('node:diagnostics_channel')
const fs = require('node:fs')
const { NAMES } = require('../../dist/engine.js').load('events/events.js')

const file = process.env.EVENTS // read now: a command may empty its environment (esbuild's does)
const { appendFileSync } = fs // and may patch `fs`

const plain = (_, value) => (typeof value === 'bigint' ? Number(value) : value)

if (file) {
  for (const name of NAMES) {
    subscribe(`wasm-compile-cache:${name}`, (event) => {
      appendFileSync(file, JSON.stringify({ ...event, pid: process.pid }, plain) + '\n')
    })
  }
}
