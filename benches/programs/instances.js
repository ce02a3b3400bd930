'use strict'
// instances.js file: milliseconds for each of four thousand instances of a module, a thousand at a time, all of them alive.

const { readFileSync } = require('node:fs')
const compile = require('./tier.js')

async function main() {
  const module = await compile(readFileSync(process.argv[2]))
  const alive = []
  const result = {}
  for (let thousand = 1; thousand <= 4; thousand++) {
    const started = performance.now()
    for (let made = 0; made < 1000; made++) {
      const instance = new WebAssembly.Instance(module)
      if (instance.exports.f() !== 42) throw new Error('a wrong result')
      alive.push(instance)
    }
    result[`${thousand}000`] = performance.now() - started
  }
  console.log(JSON.stringify(result))
}

main()
