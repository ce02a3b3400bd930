'use strict'
// node small-modules.js <count>: what that many living modules, which differ and have one signature, take of the process, as
// JSON: pages of executable memory that is of no file, and threads of the baseline tier. /proc, so Linux only.

const { readFileSync } = require('node:fs')
const W = require('../../index.js')
const { switches } = require('../support/processes.js')
const { assemble, variant } = require('./modules.js')

/** What V8 makes executable meanwhile is the JavaScript's, which is compiled by then; it has ranges of its own. */
function executable() {
  const lines = readFileSync('/proc/self/maps', 'latin1').split('\n')
  const own = lines.filter((line) => /^\S+ r-xp \S+ 00:00 0\s*$/.test(line))
  const bytes = own.map((line) =>
    line
      .split(' ')[0]
      .split('-')
      .map((text) => Number.parseInt(text, 16))
  )
  return bytes.reduce((sum, [start, end]) => sum + (end - start), 0) / 4096
}

async function main(count) {
  const bytes = await assemble('(module (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))')
  const before = executable()
  const modules = []
  for (let k = 0; k < count; k++) modules.push(new W.Module(variant(bytes, `${k}`), { cache: false, optimize: false }))
  const pages = executable() - before
  const threads = Object.keys(switches(process.pid, 'wasm-baseline')).length
  const results = modules.map((module) => new W.Instance(module).exports.f(14))
  console.log(JSON.stringify({ pages, threads, results }))
}

main(Number(process.argv[2]))
