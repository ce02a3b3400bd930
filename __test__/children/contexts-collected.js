'use strict'
// node --expose-gc contexts-collected.js <module>: contexts that used WebAssembly, of which nobody holds anything. Prints how
// many are still there, in JSON.

const fs = require('node:fs')
const { setImmediate } = require('node:timers/promises')
const vm = require('node:vm')

const COUNT = 50
const bytes = new Uint8Array(fs.readFileSync(process.argv[2]))
const module_ = new WebAssembly.Module(bytes)

function use() {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4 })
  const sandbox = { module: module_, bytes, imports: { env: { log() {}, memory } } }
  const context = vm.createContext(sandbox)
  const results = vm.runInContext(
    `
    globalThis.given = new WebAssembly.Instance(module, imports)
    globalThis.own = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports)
    String(given.exports.run(1) + own.exports.table.get(0)(2))`,
    context
  )
  if (results !== '30000000000') throw new Error(results)
  return new WeakRef(sandbox)
}

async function main() {
  const references = Array.from({ length: COUNT }, use)
  const alive = () => references.filter((reference) => reference.deref() !== undefined).length
  // What one finalizer lets go of, another one may have held.
  for (let round = 0; round < 20 && alive() > 0; round++) {
    await setImmediate()
    globalThis.gc()
  }
  console.log(JSON.stringify({ contexts: alive() }))
}

main()
