'use strict'
// The atomic operators in the baseline tier do what they do in the built-in, whatever their operands are and however full
// the operand stack is; and they are atomic and sequentially consistent between threads. Singlepass' are not.

const { once } = require('node:events')
const path = require('node:path')
const { Worker } = require('node:worker_threads')
const test = require('ava')
const W = require('../index.js')
const { assemble } = require('./children/modules.js')
const { DATA, INTEGERS, differences, variants } = require('./support/operands.js')
const { count } = require('./support/stress.js')

const WIDTHS = { i32: [8, 16, 32], i64: [8, 16, 32, 64] }
const ADDRESSES = [DATA, DATA + 8, DATA + 64, DATA + 72].map(String)
const BEYOND = ['65536', '0xfffffff8', String(DATA + 1)]

// Beyond the narrower widths, and what the memory is filled with, so that comparisons succeed, too.
const edges = {
  i32: ['1', '-1', '0xa5a5a5a5', '0x1a5', '0x10000', '0x7fffffff', '0xa5'],
  i64: ['1', '-1', '0xa5a5a5a5a5a5a5a5', '0xa5a5a5a5', '0x1a5a5', '0x100000000', '0x8000000000000000', '0xa5'],
}

function operators() {
  const made = []
  for (const [type, widths] of Object.entries(WIDTHS)) {
    for (const width of widths) {
      const narrow = `i${width}` === type ? '' : String(width)
      const unsigned = narrow && '_u'
      const add = (name, operands, result) => {
        const text = (...values) => `(${name} ${values.join(' ')})`
        made.push({
          name,
          operands,
          result,
          text,
          values: [width > 8 ? [...ADDRESSES, ...BEYOND] : [...ADDRESSES, ...BEYOND.slice(0, 2)]],
        })
      }
      add(`${type}.atomic.load${narrow}${unsigned}`, ['i32'], type)
      add(`${type}.atomic.store${narrow}`, ['i32', type])
      for (const operation of ['add', 'sub', 'and', 'or', 'xor', 'xchg']) {
        add(`${type}.atomic.rmw${narrow}.${operation}${unsigned}`, ['i32', type], type)
      }
      add(`${type}.atomic.rmw${narrow}.cmpxchg${unsigned}`, ['i32', type, type], type)
    }
    // Nobody wakes them, and the timeout is zero: 1 for another value, 2 for a timeout. Node 20's V8 gets the values
    // below them wrong.
    const name = `memory.atomic.wait${type.slice(1)}`
    made.push({
      name,
      operands: ['i32', type, 'i64'],
      result: 'i32',
      values: [ADDRESSES, undefined, ['0']],
      text: (...values) => `(${name} ${values.join(' ')})`,
      inBuiltin: (address, expected, timeout) =>
        `(i32.add (i32.add (i32.const 1) (${type}.eq (${type}.load ${address}) ${expected})) (i32.wrap_i64 ${timeout}))`,
    })
  }
  const notify = 'memory.atomic.notify'
  made.push({
    name: notify,
    operands: ['i32', 'i32'],
    result: 'i32',
    text: (...values) => `(${notify} ${values.join(' ')})`,
    values: [[...ADDRESSES, ...BEYOND]],
  })
  return made
}

test.serial('results and memory are those of the built-in', async (t) => {
  const functions = variants(operators(), { edges, stacks: INTEGERS })
  const imports = ({ Memory }) => ({ memory: new Memory({ initial: 1, maximum: 1, shared: true }) })
  t.log(`${functions.length} functions`)
  t.deepEqual(await differences('(import "env" "memory" (memory 1 1 shared))', functions, { edges, imports }), [])
})

// An expected value whose upper half no word has: of what it was made, a parameter of a call or a wider word, nothing is left.
const WORDS = `(module (memory (export "memory") 1 1 shared)
  (func (export "narrow") (param i64 i32) (result i32)
    (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.wrap_i64 (local.get 0)) (local.get 1)))
  (func (export "wide") (param i64 i32) (result i32)
    (i32.wrap_i64 (i64.atomic.rmw32.cmpxchg_u (i32.const 0) (local.get 0) (i64.extend_i32_s (local.get 1))))))`

test.serial('words of 32 bits are compared as such in both tiers', async (t) => {
  for (const tier of ['baseline', 'optimized']) {
    const module = new W.Module(await assemble(WORDS), { optimize: tier === 'optimized' })
    if (tier === 'optimized') await W.Module.optimized(module)
    t.is(W.Module.tier(module), tier)
    const { memory, narrow, wide } = new W.Instance(module, {}).exports
    const words = new Uint32Array(memory.buffer)
    for (const exchange of [narrow, wide]) {
      words[0] = 0xa5a5a5a5
      t.is(exchange(0x1234_5678_a5a5_a5a5n, 7) >>> 0, 0xa5a5a5a5)
      t.is(words[0], 7)
    }
  }
})

const ROW = 16_384

// $own and $other are the threads' words; 128 bytes behind each its thread says which round it has come to. A thread waits
// for the other, so that both are at the same point, but not forever: it may not be running.
const exchange = (name, store) => `(func (export "${name}") (param $own i32) (param $other i32) (param $seen i32) (param $round i32)
  (local $spins i32) (local $end i32)
  (local.set $end (i32.add (local.get $seen) (i32.const ${ROW})))
  (loop $next
    (local.set $round (i32.add (local.get $round) (i32.const 1)))
    (local.set $spins (i32.const 1000))
    (drop (i32.atomic.rmw.xchg offset=128 (local.get $own) (local.get $round)))
    (block $there (loop $wait
      (br_if $there (i32.ge_u (i32.atomic.load offset=128 (local.get $other)) (local.get $round)))
      (br_if $wait (local.tee $spins (i32.sub (local.get $spins) (i32.const 1))))))
    ${store}
    (i32.store (local.get $seen) (i32.atomic.load (local.get $other)))
    (br_if $next (i32.lt_u (local.tee $seen (i32.add (local.get $seen) (i32.const 4))) (local.get $end)))))`

const THREADS = `(module
  (import "env" "memory" (memory 2 2 shared))
  ;; Sets, clears and flips its bit of the word at 128; says how often the bit was not as this thread left it.
  (func (export "contend") (param $bit i32) (param $rounds i32) (result i32) (local $lost i32)
    (loop $next
      (local.set $lost (i32.add (local.get $lost) (i32.ne (i32.const 0)
        (i32.and (local.get $bit) (i32.atomic.rmw.or (i32.const 128) (local.get $bit))))))
      (local.set $lost (i32.add (local.get $lost) (i32.eqz
        (i32.and (local.get $bit) (i32.atomic.rmw.and (i32.const 128) (i32.xor (local.get $bit) (i32.const -1)))))))
      (local.set $lost (i32.add (local.get $lost) (i32.ne (i32.const 0)
        (i32.and (local.get $bit) (i32.atomic.rmw.xor (i32.const 128) (local.get $bit))))))
      (local.set $lost (i32.add (local.get $lost) (i32.eqz
        (i32.and (local.get $bit) (i32.atomic.rmw.xor (i32.const 128) (local.get $bit))))))
      (br_if $next (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
    (local.get $lost))
  ${exchange('store', '(i32.atomic.store (local.get $own) (local.get $round))')}
  ${exchange('fence', '(i32.store (local.get $own) (local.get $round)) (atomic.fence)')})`

/** What two threads say of `job`, and the memory they worked on. */
async function threads(t, job) {
  const module = new W.Module(await assemble(THREADS), { optimize: false })
  t.is(W.Module.tier(module), 'baseline')
  const memory = new W.Memory({ initial: 2, maximum: 2, shared: true })
  const rounds = { contend: count(400_000, 2_000_000), exchange: 300 }
  const workers = [0, 1].map(
    (me) =>
      new Worker(path.join(__dirname, 'children/atomics.js'), { workerData: { compiled: module, memory, me, job, rounds, ROW } })
  )
  const told = await Promise.all(workers.map((worker) => once(worker, 'message')))
  return { told: told.map(([counts]) => counts), memory }
}

test.serial('no update is lost between two threads', async (t) => {
  const { told, memory } = await threads(t, 'contend')
  t.deepEqual(told, [{ lost: 0 }, { lost: 0 }])
  t.is(new Int32Array(memory.buffer)[32], 0, 'the word that both worked on')
})

test.serial('stores are seen in order between two threads', async (t) => {
  const { told } = await threads(t, 'exchange')
  t.deepEqual(told, [
    { store: 0, fence: 0 },
    { store: 0, fence: 0 },
  ])
})
