'use strict'
// calls.js file: nanoseconds a call, both ways, and for an empty function of the addon where it is
// loaded. The best of seven passes after two to warm up.

const { readFileSync } = require('node:fs')
const compile = require('./tier.js')

const CALLS = 500_000

function best(pass) {
  let least = Infinity
  for (let i = 0; i < 9; i++) {
    const started = performance.now()
    pass(CALLS)
    const ms = performance.now() - started
    if (i > 1) least = Math.min(least, ms)
  }
  return (least * 1e6) / CALLS
}

async function main() {
  const module = await compile(readFileSync(process.argv[2]))
  const { exports } = await WebAssembly.instantiate(module, { env: { add: (a, b) => (a + b) | 0 } })
  const { add, loop } = exports
  if (add(40, 2) !== 42 || loop(3) !== 6) throw new Error('wrong sums')
  const result = {
    into: best((n) => {
      for (let i = 0; i < n; i++) add(i, 2)
    }),
    out: best((n) => loop(n)),
  }
  if (WebAssembly.Module.tier) {
    const { empty } = require('../../binding.js')
    result.empty = best((n) => {
      for (let i = 0; i < n; i++) empty()
    })
  }
  console.log(JSON.stringify(result))
}

main()
