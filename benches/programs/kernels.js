'use strict'
// kernels.js file: each kernel of kernels.wat, milliseconds (the best of five runs after one to
// warm up), its result checked.

const { readFileSync } = require('node:fs')
const compile = require('./tier.js')

const kernels = {
  matmul: { n: 320, checksum: -44847 },
  sha256: { n: 4_000_000, checksum: 899986776 }, // as node:crypto has it
  sort: { n: 300_000, checksum: -384353841 },
  trees: { n: 17, checksum: 2097144 },
  sieve: { n: 8_000_000, checksum: 539777 },
  fib: { n: 34, checksum: 5702887 },
}

async function main() {
  const module = await compile(readFileSync(process.argv[2]))
  const { exports } = await WebAssembly.instantiate(module, {})
  const result = {}
  for (const [name, { n, checksum }] of Object.entries(kernels)) {
    let best = Infinity
    for (let run = 0; run < 6; run++) {
      const started = performance.now()
      const got = exports[name](n)
      const ms = performance.now() - started
      if (got !== checksum) throw new Error(`${name}(${n}) gave ${got}, not ${checksum}`)
      if (run > 0) best = Math.min(best, ms)
    }
    result[name] = best
  }
  console.log(JSON.stringify(result))
}

main()
