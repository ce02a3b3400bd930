'use strict'
// references.js file: nanoseconds for an externref that crosses, by the way it takes; every one is that of a new object. The
// best of seven passes after two to warm up.

const { readFileSync } = require('node:fs')
const compile = require('./tier.js')

const CROSSINGS = 200_000

function best(pass) {
  let least = Infinity
  for (let i = 0; i < 9; i++) {
    const started = performance.now()
    pass(CROSSINGS)
    const ms = performance.now() - started
    if (i > 1) least = Math.min(least, ms)
  }
  return (least * 1e6) / CROSSINGS
}

async function main() {
  const module = await compile(readFileSync(process.argv[2]))
  const { exports } = await WebAssembly.instantiate(module, { env: { use: (value) => value.n, make: (n) => ({ n }) } })
  const { take, give, use, make, table, global } = exports
  if (give('a') !== 'a' || use(3, { n: 2 }) !== 6) throw new Error('wrong values')
  const each = (action) =>
    best((n) => {
      for (let i = 0; i < n; i++) action(i)
    })
  const result = {
    argument: each((n) => take({ n })),
    result: each((n) => give({ n })),
    taken: best((n) => use(n, { n })),
    made: best(make),
    set: each((n) => table.set(n & 1023, { n })),
    get: each((n) => table.get(n & 1023)),
    global: each((n) => (global.value = { n })),
  }
  console.log(JSON.stringify(result))
}

main()
