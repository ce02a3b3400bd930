'use strict'
// throws.js file [overflow]: nanoseconds for what WebAssembly is left by, below 0 to 2,000 calls of WebAssembly and
// JavaScript in turns: a number and a new Error that an import throws, and a trap. The best of seven passes after two to
// warm up. With `overflow` milliseconds for turns until the stack is full, the error of which leaves all of them.

const { readFileSync } = require('node:fs')
const compile = require('./tier.js')

const DEPTHS = [0, 100, 500, 1000, 2000]
const THROWS = 100

function best(pass) {
  let least = Infinity
  for (let i = 0; i < 9; i++) {
    const started = performance.now()
    pass()
    const ms = performance.now() - started
    if (i > 1) least = Math.min(least, ms)
  }
  return least
}

function caught(action) {
  try {
    action()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

async function main() {
  const [file, overflow] = process.argv.slice(2)
  let bottom
  let thrower
  const env = {
    nest: (depth) => (depth === 0 ? bottom() : exports.nest(depth - 1)),
    throw: () => thrower(),
  }
  const { exports } = await WebAssembly.instantiate(await compile(readFileSync(file)), { env })
  if (overflow) {
    const ms = best(() => {
      if (!(caught(() => exports.nest(-1)) instanceof RangeError)) throw new Error('no overflow')
    })
    console.log(JSON.stringify(ms))
    return
  }
  const kinds = {
    number() {
      thrower = () => {
        throw Infinity
      }
      if (caught(exports.call) !== Infinity) throw new Error('another number')
    },
    error() {
      thrower = () => {
        throw new Error('thrown')
      }
      if (caught(exports.call).message !== 'thrown') throw new Error('another error')
    },
    trap() {
      if (!(caught(exports.trap) instanceof WebAssembly.RuntimeError)) throw new Error('no trap')
    },
  }
  const result = {}
  for (const [kind, run] of Object.entries(kinds)) {
    for (const depth of DEPTHS) {
      const pass = () => {
        for (let i = 0; i < THROWS; i++) run()
      }
      bottom = () => {
        result[`${kind}-${depth}`] = (best(pass) * 1e6) / THROWS
      }
      exports.nest(depth)
    }
  }
  console.log(JSON.stringify(result))
}

main()
