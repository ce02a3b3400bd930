'use strict'
// node --expose-gc [--require register.js] instances.js: makes instances whose import is a closure
// over the instance itself, drops them, and prints what is left of them.
//
// INSTANCES  how many a round (10,000)
// RISE       in bytes: once RSS has risen by less in SPAN rounds, that is all (0)
// MEMORY=1   each with a linear memory of its own

const { assemble, small } = require('./modules.js')

const total = Number(process.env.INSTANCES ?? 10_000)
const rise = Number(process.env.RISE ?? 0)
const ROUNDS = 60 // at most
const SPAN = 5
const memory = process.env.MEMORY === '1'
const ours = globalThis.WebAssembly.Module.tier !== undefined
const liveStores = () => (ours ? require('../../binding.js').liveStores() : 0)

/** A batch in a function of its own: no register or stack slot of the caller keeps one alive. */
function batch(module, count) {
  for (let i = 0; i < count; i++) {
    const instance = new WebAssembly.Instance(module, {
      env: { self: (x) => instance.exports.twice(x) + instance.exports.count.value, start: i },
    })
    const { ask, indirect, table } = instance.exports
    table.set(2, ask)
    const got = [ask(20), indirect(20, 0), indirect(20, 1), indirect(20, 2)]
    const want = [40 + i + 1, 40 + i + 1, 40, 40 + i + 2]
    if (String(got) !== String(want)) throw new Error(`instance ${i}: ${got}, not ${want}`)
    if (table.get(2) !== ask || table.get(1) !== instance.exports.twice) throw new Error(`instance ${i}: another function`)
  }
}

/** Collections and turns of the event loop (finalizers run there): three, then until `done`, at most 100. */
async function collect(done) {
  for (let turn = 0; turn < 3 || (turn < 100 && !done()); turn++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

async function round(module, before) {
  for (let made = 0; made < total; made += 250) {
    batch(module, Math.min(250, total - made))
    await new Promise((resolve) => setImmediate(resolve))
  }
  await collect(() => liveStores() === before)
  return { stores: liveStores(), rss: process.memoryUsage.rss() }
}

async function main() {
  const module = new WebAssembly.Module(await assemble(small({ memory })))
  if (ours) await WebAssembly.Module.optimized(module) // its threads and pages are not what is counted
  await collect(() => true)
  const before = liveStores()
  const rounds = []
  do {
    rounds.push(await round(module, before))
  } while (rounds.length < ROUNDS && !(rounds.at(-1).rss - rounds.at(-1 - SPAN)?.rss < rise))
  console.log(JSON.stringify({ ours, before, rounds }))
}

main()
