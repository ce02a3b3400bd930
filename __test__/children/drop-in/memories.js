'use strict'
// node memories.js <module> <engine> <engine>: an instance of each engine ('ours' or 'built-in') on one memory, without
// install(). Prints what each saw of the other's writes and growth, in JSON.

const { once } = require('node:events')
const fs = require('node:fs')
const { isMainThread, parentPort, Worker, workerData } = require('node:worker_threads')
const { caught } = require('./outcome.js')

const builtin = WebAssembly
const ours = require('../../../index.js')
const engines = { 'built-in': builtin, ours }

/** (load a) (store a v) (grow n) (size), and with `shared` an atomic add. */
const make = (W, bytes, memory) => new W.Instance(new W.Module(bytes), { env: { memory } }).exports

function alternate(bytes, shared, [first, second], owner) {
  const memory = new engines[owner].Memory({ initial: 1, maximum: 10, ...(shared ? { shared } : {}) })
  const one = make(engines[first], bytes, memory)
  const two = make(engines[second], bytes, memory)
  const before = memory.buffer
  const seen = []
  one.store(16, 11)
  seen.push(two.load(16), new Int32Array(memory.buffer)[4])
  two.store(16, 12)
  seen.push(one.load(16))
  seen.push(one.grow(1), two.size(), one.size(), memory.buffer.byteLength)
  two.store(2 * 65536 - 4, 13)
  seen.push(one.load(2 * 65536 - 4))
  seen.push(two.grow(2), one.size(), two.size(), memory.buffer.byteLength)
  one.store(4 * 65536 - 4, 14)
  seen.push(two.load(4 * 65536 - 4))
  seen.push(memory.grow(1))
  // Before anybody has asked for the size.
  one.fill(4 * 65536, 1, 65536)
  two.fill(4 * 65536, 2, 65536)
  seen.push(one.load(4 * 65536), one.size(), two.size())
  new Int32Array(memory.buffer)[5 * 16384 - 1] = 15
  seen.push(one.load(5 * 65536 - 4), two.load(5 * 65536 - 4))
  seen.push(
    caught(() => one.load(5 * 65536)),
    caught(() => two.load(5 * 65536))
  )
  seen.push(
    one.grow(6),
    two.grow(6),
    caught(() => memory.grow(6))
  )
  one.fill(4 * 65536, 7, 65536)
  seen.push(two.load(5 * 65536 - 4))
  two.fill(4 * 65536, 9, 65536)
  seen.push(one.load(5 * 65536 - 4))
  seen.push(before === memory.buffer, before.byteLength)
  return seen
}

/** The memory that was posted, in another thread: one engine writes there, the other reads here. */
async function post(bytes, shared, [first, second]) {
  const memory = new engines[first].Memory({ initial: 1, maximum: 10, ...(shared ? { shared } : {}) })
  const here = make(engines[first], bytes, memory)
  here.store(16, 21)
  let worker
  try {
    worker = new Worker(__filename, { workerData: { memory, bytes, engine: second } })
  } catch (error) {
    return [error.name, structuredCloneRefuses(memory)]
  }
  const [told] = await once(worker, 'message')
  // The worker has grown it by one page, and written to its end.
  return [told, here.size(), here.load(2 * 65536 - 4), memory.buffer.byteLength]
}

const structuredCloneRefuses = (memory) => caught(() => structuredClone(memory))[1]

function work({ memory, bytes, engine }) {
  const { load, grow, size, store } = make(engines[engine], bytes, memory)
  const told = [load(16), grow(1), size(), memory.buffer.byteLength, memory instanceof builtin.Memory]
  store(2 * 65536 - 4, 22)
  parentPort.postMessage(told)
}

async function main() {
  const [, , local, shared, ...pair] = process.argv
  const told = {}
  for (const [name, file] of Object.entries({ local, shared })) {
    const bytes = new Uint8Array(fs.readFileSync(file))
    told[name] = {
      alternate: pair.map((owner) => alternate(bytes, name === 'shared', pair, owner)),
      posted: await post(bytes, name === 'shared', pair),
    }
  }
  console.log(JSON.stringify(told))
}

if (isMainThread) main()
else work(workerData)
