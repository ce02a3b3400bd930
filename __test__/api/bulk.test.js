'use strict'
// memory.fill, memory.copy and memory.init, in every tier: where memories end, and who has grown them meanwhile.

const { Worker } = require('node:worker_threads')
const test = require('ava')
const { W, assemble, builtin, instantiate, ours, ready } = require('../support/engine.js')
const { compileInTiers, tiers } = require('../support/tiers.js')

const PAGE = 65536
const END = 2 ** 32
const OUT_OF_BOUNDS = { instanceOf: W.RuntimeError, message: 'memory access out of bounds' }

const get = (count) => Array.from({ length: count }, (_, index) => `(local.get ${index})`).join(' ')
const operator = (name, text, count, result = '') =>
  `(func (export "${name}") ${'(param i32)'.repeat(count)} ${result} (${text} ${get(count)}))`
const OPERATORS = [
  operator('fill', 'memory.fill', 3),
  operator('copy', 'memory.copy', 3),
  operator('init', 'memory.init $data', 3),
  '(func (export "drop") (data.drop $data))',
  '(func (export "size") (result i32) (memory.size))',
  operator('notify', 'memory.atomic.notify', 2, '(result i32)'),
  '(func (export "wait") (param i32) (result i32) (memory.atomic.wait32 (local.get 0) (i32.const 1) (i64.const 0)))',
  '(func (export "wait64") (param i32) (result i32) (memory.atomic.wait64 (local.get 0) (i64.const 1) (i64.const 0)))',
].join('\n')

const own = (type) => `(memory (export "m") ${type}) (data $data "abcd") ${OPERATORS}`
const imported = (type) => `(import "m" "m" (memory ${type})) (data $data "abcd") ${OPERATORS}`
const segment = (type) => `(import "m" "m" (memory ${type})) (data (i32.const ${PAGE}) "abcd")`

const between = (to, from) => `
  (memory (export "m") ${to}) (memory (export "n") ${from})
  (func (export "copy") (param i32 i32 i32) (memory.copy 0 1 ${get(3)}))`

const TEXTS = {
  own: own('1 3'),
  imported: imported('1 3'),
  ownShared: own('1 3 shared'),
  importedShared: imported('1 3 shared'),
  segment: segment('1 3'),
  segmentShared: segment('1 3 shared'),
  large: own('65536'),
  largeShared: own('65536 65536 shared'),
}
const BETWEEN = { upwards: between('65536', '1'), downwards: between('1', '65536') }

let modules
let twoMemories
test.before(async () => {
  await ready
  twoMemories = W.validate(assemble(BETWEEN.upwards))
  modules = await compileInTiers(twoMemories ? { ...TEXTS, ...BETWEEN } : TEXTS)
})

const bytes = (memory, at, count) => [...new Uint8Array(memory.buffer, at, count)]
const exportsOf = (tier, name, memory) => {
  const { exports } = new W.Instance(modules[tier][name], { m: { m: memory } })
  return { m: memory, ...exports }
}

for (const tier of tiers) {
  for (const name of ['large', 'largeShared']) {
    test(`ranges that end with a memory of 4 GiB: ${name}, ${tier}`, (t) => {
      const { m, fill, copy, init, drop } = exportsOf(tier, name)
      const last = () => bytes(m, END - 4, 4)
      fill(END - 4, 7, 4)
      t.deepEqual(last(), [7, 7, 7, 7])
      fill(END - 1, 8, 1)
      t.deepEqual(last(), [7, 7, 7, 8])
      init(END - 4, 0, 4)
      t.deepEqual(last(), [97, 98, 99, 100])
      init(END - 1, 0, 1)
      t.deepEqual(last(), [97, 98, 99, 97])
      copy(16, END - 4, 4)
      t.deepEqual(bytes(m, 16, 4), [97, 98, 99, 97])
      fill(16, 9, 2)
      copy(END - 2, 16, 2)
      t.deepEqual(last(), [97, 98, 9, 9])
      copy(END - 4, END - 3, 3)
      t.deepEqual(last(), [98, 9, 9, 9])
      copy(END - 3, END - 4, 3)
      t.deepEqual(last(), [98, 98, 9, 9])
      for (const wrong of [
        () => fill(END - 4, 1, 5),
        () => init(END - 3, 0, 4),
        () => copy(END - 3, 16, 4),
        () => copy(16, END - 3, 4),
      ]) {
        t.throws(wrong, OUT_OF_BOUNDS)
      }
      for (const wrong of [
        () => fill(END - 1, 1, END - 1),
        () => copy(END - 1, END - 1, END - 1),
        () => init(END - 1, END - 1, END - 1),
      ]) {
        t.throws(wrong, OUT_OF_BOUNDS)
      }
      t.deepEqual(last(), [98, 98, 9, 9])
      fill(END - 1, 1, 0)
      init(END - 1, 4, 0)
      drop()
      init(END - 1, 0, 0)
      t.throws(() => init(END - 1, 0, 1), OUT_OF_BOUNDS)
      t.deepEqual(last(), [98, 98, 9, 9])
    })
  }

  for (const name of ['own', 'imported']) {
    test(`before an operator traps it writes nothing: ${name}, ${tier}`, (t) => {
      const { m, fill, copy, init, drop } = exportsOf(tier, name, new W.Memory({ initial: 1, maximum: 3 }))
      const wrong = {
        'fill beyond the end': () => fill(PAGE - 8, 1, 9),
        'fill of nothing beyond the end': () => fill(PAGE + 1, 1, 0),
        'fill of everything': () => fill(0, 1, END - 1),
        'copy to beyond the end': () => copy(PAGE - 8, 0, 9),
        'copy from beyond the end': () => copy(0, PAGE - 8, 9),
        'copy of nothing to beyond the end': () => copy(PAGE + 1, 0, 0),
        'copy of nothing from beyond the end': () => copy(0, PAGE + 1, 0),
        'init beyond the end': () => init(PAGE - 3, 0, 4),
        'init of nothing beyond the end': () => init(PAGE + 1, 0, 0),
        'init from beyond the segment': () => init(0, 1, 4),
        'init of nothing from beyond the segment': () => init(0, 5, 0),
        'init of more than there can be': () => init(0, END - 1, 2),
      }
      new Uint8Array(m.buffer).fill(5)
      for (const [what, act] of Object.entries(wrong)) t.throws(act, OUT_OF_BOUNDS, what)
      fill(PAGE, 1, 0)
      copy(PAGE, 0, 0)
      copy(0, PAGE, 0)
      init(PAGE, 4, 0)
      t.true(new Uint8Array(m.buffer).every((byte) => byte === 5))
      init(8, 1, 3)
      t.deepEqual(bytes(m, 7, 5), [5, 98, 99, 100, 5])
      drop()
      init(PAGE, 0, 0)
      for (const act of [() => init(0, 0, 1), () => init(0, 1, 0)]) t.throws(act, OUT_OF_BOUNDS)
      fill(0, 0x1ff, 1)
      t.deepEqual(bytes(m, 0, 2), [255, 5])
    })
  }

  test(`a copy that overlaps itself is right in both directions: ${tier}`, (t) => {
    const { m, copy } = exportsOf(tier, 'own')
    new Uint8Array(m.buffer).set([1, 2, 3, 4, 5, 6, 7, 8])
    copy(2, 0, 6)
    t.deepEqual(bytes(m, 0, 8), [1, 2, 1, 2, 3, 4, 5, 6])
    copy(0, 2, 6)
    t.deepEqual(bytes(m, 0, 8), [1, 2, 3, 4, 5, 6, 5, 6])
    copy(0, 0, PAGE)
    t.deepEqual(bytes(m, 0, 8), [1, 2, 3, 4, 5, 6, 5, 6])
  })

  test(`a copy from one memory to another has the bounds of both: ${tier}`, (t) => {
    if (!twoMemories) return t.pass('this engine has one memory an instance')
    const up = new W.Instance(modules[tier].upwards).exports
    new Uint8Array(up.n.buffer).fill(3)
    up.copy(END - 2, PAGE - 2, 2)
    t.deepEqual(bytes(up.m, END - 3, 3), [0, 3, 3])
    t.throws(() => up.copy(END - 2, PAGE - 1, 2), OUT_OF_BOUNDS)
    t.throws(() => up.copy(END - 1, 0, 2), OUT_OF_BOUNDS)
    const down = new W.Instance(modules[tier].downwards).exports
    new Uint8Array(down.n.buffer, END - 2).fill(4)
    down.copy(PAGE - 2, END - 2, 2)
    t.deepEqual(bytes(down.m, PAGE - 3, 3), [0, 4, 4])
    t.throws(() => down.copy(PAGE - 1, END - 2, 2), OUT_OF_BOUNDS)
    t.is(builtin.Memory.prototype.grow.call(down.m, 1), 1)
    down.copy(2 * PAGE - 2, END - 2, 2)
    t.deepEqual(bytes(down.m, 2 * PAGE - 3, 3), [0, 4, 4])
  })
}

/** Everybody who can grow a memory without the instance's doing, by a page. */
const growers = {
  'Memory.prototype.grow': (memories) => memories.forEach((memory) => memory.grow(1)),
  "the built-in's Memory.prototype.grow": (memories) => memories.forEach((memory) => builtin.Memory.prototype.grow.call(memory, 1)),
  'an instance of the built-in': (memories, shared) => {
    const module = new builtin.Module(
      assemble(`(import "m" "m" (memory 1 ${shared ? '3 shared' : ''})) (func (export "grow") (drop (memory.grow (i32.const 1))))`)
    )
    for (const memory of memories) new builtin.Instance(module, { m: { m: memory } }).exports.grow()
  },
}
const sharedGrowers = {
  ...growers,
  'another thread': (memories) => {
    const grown = new Int32Array(new SharedArrayBuffer(4))
    const script = `const { memories, grown } = require('node:worker_threads').workerData
      for (const memory of memories) memory.grow(1)
      Atomics.store(grown, 0, 1)
      Atomics.notify(grown, 0)`
    const worker = new Worker(script, { eval: true, workerData: { memories, grown } })
    worker.unref()
    // Without a turn of the event loop, in which V8 could tell this thread.
    Atomics.wait(grown, 0, 0)
  },
}
if ('toResizableBuffer' in builtin.Memory.prototype) {
  growers['its resizable buffer'] = (memories) => memories.forEach((memory) => memory.toResizableBuffer().resize(2 * PAGE))
  growers['its resizable buffer, which is fixed again'] = (memories) =>
    memories.forEach((memory) => {
      memory.toResizableBuffer().resize(2 * PAGE)
      memory.toFixedLengthBuffer()
    })
  sharedGrowers['its growable buffer'] = (memories) => memories.forEach((memory) => memory.toResizableBuffer().grow(2 * PAGE))
}

/** What asks for a memory's length, each of which is to be the first to see that the memory was grown. */
const askers = (tier, shared) => ({
  fill: ({ fill }) => fill(2 * PAGE - 4, 97, 4),
  'copy to': ({ copy }) => copy(2 * PAGE - 4, 0, 4),
  'copy from': ({ copy }) => copy(0, 2 * PAGE - 4, 4),
  init: ({ init }) => init(2 * PAGE - 4, 0, 4),
  size: ({ size }) => size(),
  notify: ({ notify }) => notify(2 * PAGE - 4, 1),
  wait: ({ wait }) => wait(2 * PAGE - 4),
  wait64: ({ wait64 }) => wait64(2 * PAGE - 8),
  'data segment': ({ m }) => {
    const written = new W.Instance(modules[tier][shared ? 'segmentShared' : 'segment'], { m: { m } })
    return written && bytes(m, PAGE, 4)
  },
})
const NO_WAIT = 'RuntimeError: Atomics.wait cannot be called in this context'
const answers = (shared) => ({
  fill: undefined,
  'copy to': undefined,
  'copy from': undefined,
  init: undefined,
  size: 2,
  notify: 0,
  wait: shared ? 1 : NO_WAIT,
  wait64: shared ? 1 : NO_WAIT,
  'data segment': [97, 98, 99, 100],
})

function attempt(act) {
  try {
    return act()
  } catch (error) {
    return String(error)
  }
}

for (const tier of tiers) {
  for (const [shared, all] of [
    [false, growers],
    [true, sharedGrowers],
  ]) {
    for (const [who, grow] of Object.entries(all)) {
      for (const kind of ['own', 'imported']) {
        test(`a${shared ? ' shared' : ''} memory has the length that ${who} gave it: ${kind}, ${tier}`, (t) => {
          const name = shared ? `${kind}Shared` : kind
          const ask = askers(tier, shared)
          const instances = Object.keys(ask).map(() => exportsOf(tier, name, new W.Memory({ initial: 1, maximum: 3, shared })))
          grow(
            instances.map(({ m }) => m),
            shared
          )
          const got = Object.entries(ask).map(([what, act], index) => [what, attempt(() => act(instances[index]))])
          t.deepEqual(Object.fromEntries(got), answers(shared))
          for (const { fill } of instances) t.throws(() => fill(2 * PAGE - 4, 1, 5), OUT_OF_BOUNDS)
        })
      }
    }
  }
}

ours('a length that the program makes up is not believed', (t) => {
  const { m, grow, size, fill } = instantiate(`${own('1 3')} (func (export "grow") (result i32) (memory.grow (i32.const 1)))`)
  const honest = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength')
  const seen = []
  Object.defineProperty(ArrayBuffer.prototype, 'byteLength', { ...honest, get: () => END })
  try {
    seen.push(size(), grow(), size(), m.grow(1), size())
  } finally {
    Object.defineProperty(ArrayBuffer.prototype, 'byteLength', honest)
  }
  t.deepEqual(seen, [1, 1, 2, 2, 3])
  t.throws(() => fill(3 * PAGE, 1, PAGE), OUT_OF_BOUNDS)
})
