'use strict'
// One of the two threads of atomics.test.js. Says how often the other one's work and its own did not fit together.

const { parentPort, workerData } = require('node:worker_threads')
const W = require('../../index.js')

const { compiled, memory, me, rounds, ROW } = workerData
const { contend, store, fence } = new W.Instance(compiled, { env: { memory } }).exports
const words = new Int32Array(memory.buffer)
const gate = new Int32Array(memory.buffer, 0, 1)

let met = 0

/** Returns when both threads have come here: at once if both are running, or else soon. */
function meet() {
  met += 2
  Atomics.add(gate, 0, 1)
  for (let spins = 0, seen; (seen = Atomics.load(gate, 0)) < met; ) if (spins++ > 10_000) Atomics.wait(gate, 0, seen, 1)
}

/** Each thread writes its row's words and reads the other's. At a word, at least one of the two must see the other. */
function missed(exchange) {
  const [own, other, seen, theirs] = [1 + me, 2 - me, 3 + me, 4 - me].map((row) => row * ROW)
  let both = 0
  for (let round = 1; round <= rounds.exchange; round++) {
    meet()
    exchange(own, other, seen, round)
    meet()
    if (me === 1) continue
    for (let at = 0; at < ROW; at += 4) if (words[(seen + at) >> 2] < round && words[(theirs + at) >> 2] < round) both++
  }
  meet()
  words.fill(0, ROW >> 2)
  return both
}

meet()
const lost = contend(1 << me, rounds.contend)
meet()
parentPort.postMessage({ lost, store: missed(store), fence: missed(fence) })
