'use strict'
// node killed.js <module>: compiles the module from a stream, runs it in both tiers, and says before each step that it is
// about to take it. It may be killed at any of them. HAND_OFF=1: it leaves the module to a finisher, too.

const fs = require('node:fs')
const { native } = require('../../dist/engine.js').load('process/native.js')
const W = require('../../index.js')

const { EXPECTED, HAND_OFF } = process.env
const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`)

async function* pieces(bytes) {
  for (let at = 0; at < bytes.length; at += 1024) {
    yield bytes.subarray(at, at + 1024)
    await new Promise((resolve) => setImmediate(resolve))
  }
  say('baseline')
}

async function main(file) {
  const bytes = fs.readFileSync(file)
  say('stream')
  const headers = { 'content-type': 'application/wasm' }
  const response = new Response(ReadableStream.from(pieces(bytes)), { headers })
  const module = await W.compileStreaming(response, { minSize: 0 })
  say('run')
  const { exports } = await W.instantiate(module, { env: { tick: (x) => x + 1 } })
  const check = () => {
    const got = exports.run(20)
    if (got !== Number(EXPECTED)) throw new Error(`run(20) gave ${got}, not ${EXPECTED}`)
  }
  check()
  for (const spool of HAND_OFF === '1' ? native.handOff().flat() : []) say('spooled', spool)
  say('optimizing')
  await W.Module.optimized(module)
  say('stored')
  check()
  say('right')
}

main(process.argv[2])
