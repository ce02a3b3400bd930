'use strict'
// node wasi.js <command> <reactor>: small WASI modules on the global's instances, and on those of a thread-made memory.

const fs = require('node:fs')
const { WASI } = require('node:wasi')

const { caught } = require('./outcome.js')

const [, , command, reactor] = process.argv
const options = { version: 'preview1', args: ['command', 'an argument'], env: { NAME: 'value' }, returnOnExit: true }

const instantiate = (wasi, file) => WebAssembly.instantiate(fs.readFileSync(file), wasi.getImportObject())

async function main() {
  const wasi = new WASI(options)
  const { instance } = await instantiate(wasi, command)
  const code = wasi.start(instance)
  const again = caught(() => wasi.start(instance))
  const other = new WASI(options)
  const made = await instantiate(other, reactor)
  other.initialize(made.instance)
  const twice = caught(() => new WASI(options).initialize(instance))
  fs.writeSync(
    1,
    `\n${JSON.stringify({ engine: WebAssembly.Module.tier === undefined ? 'built-in' : 'ours', code, again, twice, time: made.instance.exports.time() > 0n, started: made.instance.exports.started.value })}\n`
  )
}

main()
