'use strict'
// One of the two threads of atomics.test.js. Says how often the other one's work and its own did not fit together.

const { parentPort, workerData } = require('node:worker_threads')
const W = require('../../index.js')

const { compiled, memory, me, job, rounds, ROW } = workerData
const { contend, store, fence } = new W.Instance(compiled, { env: { memory } }).exports
const words = new Int32Array(memory.buffer)
const gate = new Int32Array(memory.buffer, 0, 1)

let met = 0

/** Returns when both threads have come here: at once if both are running, or else soon. */
function meet() {
  met += 2
  Atomics.add(gate, 0, 1)
  for (let spins = 0, seen; (seen = Atomics.load(gate, 0)) < met;) if (spins++ > 10_000) Atomics.wait(gate, 0, seen, 1)
}

/** Each thread writes its word and reads the other's. In each round, at least one of the two must see the other. */
function missed(exchange) {
  const [own, other] = [1024 + me * 512, 1024 + (1 - me) * 512]
  const [seen, theirs] = [(1 + me) * ROW, (2 - me) * ROW]
  let both = 0
  for (let round = 0; round < (rounds.exchange * ROW) / 4; round += ROW / 4) {
    meet()
    exchange(own, other, seen, round)
    meet()
    if (me === 1) continue
    for (let at = 0; at < ROW / 4; at++) {
      const current = round + at + 1
      if (words[seen / 4 + at] < current && words[theirs / 4 + at] < current) both++
    }
  }
  meet()
  words.fill(0, 256)
  return both
}

meet()
const jobs = {
  contend: () => ({ lost: contend(1 << me, rounds.contend) }),
  exchange: () => ({ store: missed(store), fence: missed(fence) }),
}
const counts = jobs[job]()
meet()
parentPort.postMessage(counts)
