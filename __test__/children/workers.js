'use strict'
// node workers.js: starts and terminates worker threads that compile and call the same module, at
// points a seeded generator chooses. Exits with 0 if nothing but that happened.
//
// ROUNDS=500    workers in all
// SEED=1
// LANES=3       alive at a time
// REGISTER      register.js; empty: the built-in engine
// LONELY=1      the main thread does not load the addon: every worker is its only user, is
//               terminated while the optimizing tier runs, and is the last one before the next

const { once } = require('node:events')
const path = require('node:path')
const { Worker } = require('node:worker_threads')
const { assemble, chain, variant } = require('./modules.js')

const total = Number(process.env.ROUNDS ?? 500)
const lonely = process.env.LONELY === '1'
const lanes = lonely ? 1 : Number(process.env.LANES ?? 3)
const register = process.env.REGISTER ?? ''
const random = require('./random.js')(Number(process.env.SEED ?? 1))
const phases = ['online', 'compile', 'instantiate', 'call', 'swap', 'swapped', 'end']

const counts = {}
let started = 0

async function round(bytes, expected) {
  const number = started++
  // Workers in a row share their bytes, so that some meet in one compile, some find it done.
  const own = variant(bytes, `${Math.floor(number / 4)}`)
  const until = lonely ? 'swap' : phases[random(phases.length)]
  const turns = lonely ? 0 : random(4) * random(30)
  const kind = random(3)
  const worker = new Worker(path.join(__dirname, 'worker.js'), {
    workerData: { register, bytes: own, expected, sync: kind === 0, streaming: kind === 1 },
  })
  let failure
  worker.on('error', (error) => (failure = error))
  const exit = once(worker, 'exit')
  await Promise.race([
    exit,
    new Promise((resolve) => {
      worker.once('online', () => until === 'online' && resolve())
      worker.on('message', (phase) => phase === until && resolve())
    }),
  ])
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve))
  if (until !== 'end') await worker.terminate()
  await exit
  if (failure) throw new Error(`round ${number}, until ${until}: ${failure.stack}`)
  counts[until] = (counts[until] ?? 0) + 1
}

async function lane(bytes, expected) {
  while (started < total) await round(bytes, expected)
}

async function main() {
  const bytes = await assemble(chain(170))
  const reference = await WebAssembly.instantiate(bytes, { env: { tick: (x) => x + 1 } })
  const expected = reference.instance.exports.run(20)
  if (register && !lonely) require(register)
  await Promise.all(Array.from({ length: lanes }, () => lane(bytes, expected)))
  console.log(JSON.stringify({ ours: WebAssembly.Module.tier !== undefined, size: bytes.length, expected, counts }))
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
