'use strict'
// WebAssembly.Memory.
// https://webassembly.github.io/spec/js-api/#memories

const vm = require('node:vm')

const { check, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const RANGE = throws('RangeError')
const PAGE = 65536

/** A descriptor that writes down which members are asked for, and converts them by `valueOf`. */
const watched = (log, members) =>
  new Proxy(
    {},
    {
      get(_, key) {
        log.push(`get ${String(key)}`)
        const value = members[key]
        return typeof value !== 'number'
          ? value
          : {
              valueOf() {
                log.push(`convert ${String(key)}`)
                return value
              },
            }
      },
      has(_, key) {
        log.push(`has ${String(key)}`)
        return key in members
      },
    }
  )

// The constructor

check(
  'Memory(descriptor) [#dom-memory-memory]: wants new',
  (W, { all }) => all({ call: () => W.Memory({ initial: 1 }), apply: () => Reflect.apply(W.Memory, {}, [{ initial: 1 }]) }),
  { call: TYPE, apply: TYPE }
)

check(
  'Memory(descriptor): a dictionary',
  (W, { each }) => each([undefined, null, true, 1, 1n, 'x', Symbol('s')], (descriptor) => new W.Memory(descriptor)),
  Array(7).fill(TYPE)
)

check(
  'Memory(descriptor): any object',
  (W, { each }) =>
    each(
      [
        { initial: 1 },
        Object.assign([], { initial: 1 }),
        Object.assign(() => {}, { initial: 1 }),
        Object.create({ initial: 1 }),
        new Proxy({ initial: 1 }, {}),
        vm.runInNewContext('({ initial: 1 })'),
      ],
      (descriptor) => new W.Memory(descriptor).buffer.byteLength
    ),
  Array(6).fill(PAGE)
)

check('Memory(descriptor): initial is required', (W, { each }) =>
  each([{}, { maximum: 1 }, { initial: undefined }, { minimum: 1 }, []], (descriptor) => new W.Memory(descriptor))
)

check('Memory(descriptor): members in order, each converted when it is read', (W) => {
  const cases = [
    { initial: 1 },
    { initial: 1, maximum: 2 },
    { initial: 1, maximum: 2, shared: true },
    { initial: 1, maximum: 2, shared: 1 },
  ]
  return cases.map((members) => {
    const log = []
    new W.Memory(watched(log, members))
    return log
  })
})

const NUMBERS = [
  0,
  -0,
  0.9,
  1.9,
  '1',
  '0x1',
  ' 1 ',
  true,
  false,
  null,
  [],
  [1],
  { valueOf: () => 1 },
  { toString: () => '1' },
  NaN,
  Infinity,
  -Infinity,
  -1,
  -0.5,
  'x',
  {},
  2 ** 32,
  2 ** 32 - 1,
  65537,
  1n,
  Symbol('s'),
  2 ** 53,
  () => {},
]

check('Memory(descriptor): initial is [EnforceRange] unsigned long', (W, { each }) =>
  each(NUMBERS, (initial) => new W.Memory({ initial }).buffer.byteLength / PAGE)
)

check('Memory(descriptor): maximum is [EnforceRange] unsigned long', (W, { each }) =>
  each([...NUMBERS, undefined, 65536, 65537], (maximum) => {
    const memory = new W.Memory({ initial: 0, maximum })
    try {
      memory.grow(2)
      return 'two'
    } catch {
      return 'less'
    }
  })
)

check(
  'Memory(descriptor): what a member’s conversion throws',
  (W, { all }) => {
    const mine = {
      valueOf() {
        throw new EvalError('mine')
      },
    }
    return all({
      initial: () => new W.Memory({ initial: mine }),
      maximum: () => new W.Memory({ initial: 1, maximum: mine }),
      getter: () =>
        new W.Memory({
          get initial() {
            throw new EvalError('mine')
          },
        }),
      getterMaximum: () =>
        new W.Memory({
          initial: 1,
          get maximum() {
            throw new EvalError('mine')
          },
        }),
      getterShared: () =>
        new W.Memory({
          initial: 1,
          maximum: 1,
          get shared() {
            throw new EvalError('mine')
          },
        }),
    })
  },
  Object.fromEntries(['initial', 'maximum', 'getter', 'getterMaximum', 'getterShared'].map((name) => [name, throws('EvalError')]))
)

check(
  'Memory(descriptor) 4: a maximum below initial is a RangeError',
  (W, { each }) =>
    each(
      [
        [1, 0],
        [2, 1],
        [65536, 65535],
      ],
      ([initial, maximum]) => new W.Memory({ initial, maximum })
    ),
  [RANGE, RANGE, RANGE]
)

check('Memory(descriptor): shared ones need a maximum', (W, { each }) =>
  each(
    [
      { initial: 1, shared: true },
      { initial: 1, shared: true, maximum: undefined },
      { initial: 2, maximum: 1, shared: true },
    ],
    (descriptor) => new W.Memory(descriptor)
  )
)

check('Memory(descriptor): address (memory64)', (W, { each }) =>
  each(['i32', undefined, null, 'x', 1], (address) => new W.Memory({ initial: 1, address }).buffer.byteLength)
)

check('Memory(descriptor): an object with new.target’s prototype and no properties', (W) => {
  class Mine extends W.Memory {}
  const memory = new W.Memory({ initial: 1 })
  const other = Reflect.construct(W.Memory, [{ initial: 1 }], Object)
  return [
    Object.getPrototypeOf(new Mine({ initial: 1 })) === Mine.prototype,
    Object.getPrototypeOf(memory) === W.Memory.prototype,
    Object.getPrototypeOf(other) === Object.prototype,
    Reflect.apply(Object.getOwnPropertyDescriptor(W.Memory.prototype, 'buffer').get, other, []),
    Reflect.ownKeys(memory),
    Object.isExtensible(memory),
    String(memory),
  ]
})

check('Memory(descriptor): a descriptor’s getter that makes and grows other memories', (W) => {
  const first = new W.Memory({ initial: 1, maximum: 4 })
  const second = new W.Memory({
    get initial() {
      return first.grow(1)
    },
    get maximum() {
      first.grow(1)
      return 3
    },
  })
  return [first.buffer, second.buffer]
})

// buffer

check('buffer [#dom-memory-buffer]: the same ArrayBuffer until the memory grows', (W) => {
  const memory = new W.Memory({ initial: 1 })
  const { buffer } = memory
  return [
    memory.buffer === buffer,
    Object.getPrototypeOf(buffer) === ArrayBuffer.prototype,
    Object.isFrozen(buffer),
    Object.isExtensible(buffer),
    buffer,
  ]
})

check(
  'buffer: zeroes, for every page',
  (W) => new Uint8Array(new W.Memory({ initial: 2 }).buffer).every((byte) => byte === 0),
  true
)

check(
  'buffer: no setter',
  (W, { all }) => {
    const memory = new W.Memory({ initial: 1 })
    return all({
      set: () => (memory.buffer = 1),
      descriptor: () => Object.getOwnPropertyDescriptor(W.Memory.prototype, 'buffer').set,
    })
  },
  { set: TYPE, descriptor: undefined }
)

check('buffer: a memory of no pages', (W) => {
  const memory = new W.Memory({ initial: 0, maximum: 1 })
  const { buffer } = memory
  return [buffer, memory.grow(0), memory.buffer === buffer, memory.grow(1), memory.buffer, memory.grow(0), memory.buffer]
})

check(
  'create a memory buffer [#create-a-fixed-length-memory-buffer]: it cannot be detached by others ([[ArrayBufferDetachKey]])',
  (W, { all }) => {
    const memory = new W.Memory({ initial: 1 })
    return all({
      transfer: () => structuredClone(memory.buffer, { transfer: [memory.buffer] }),
      post: () => new MessageChannel().port1.postMessage(memory.buffer, [memory.buffer]),
      method: () => memory.buffer.transfer?.() ?? 'no such method',
      fixed: () => memory.buffer.transferToFixedLength?.() ?? 'no such method',
      resize: () => memory.buffer.resize(1),
      alive: () => memory.buffer.byteLength,
      copy: () => structuredClone(memory.buffer),
      slice: () => memory.buffer.slice(0, 3),
    })
  }
)

check('buffer of a shared memory: a frozen SharedArrayBuffer', (W) => {
  const memory = new W.Memory({ initial: 1, maximum: 3, shared: true })
  const { buffer } = memory
  const before = [buffer, Object.isFrozen(buffer), memory.buffer === buffer, buffer.growable]
  memory.grow(1)
  return [
    before,
    buffer.byteLength,
    memory.buffer === buffer,
    memory.buffer,
    Object.isFrozen(memory.buffer),
    memory.grow(0),
    memory.buffer,
  ]
})

// grow

check(
  'grow(delta) [#dom-memory-grow]: the size before, in pages',
  (W) => {
    const memory = new W.Memory({ initial: 1, maximum: 5 })
    return [memory.grow(1), memory.grow(2), memory.grow(0), memory.buffer.byteLength / PAGE]
  },
  [1, 2, 4, 4]
)

check('grow: delta is [EnforceRange] unsigned long', (W, { each }) =>
  each([undefined, ...NUMBERS], (delta) => {
    const memory = new W.Memory({ initial: 1, maximum: 3 })
    return [memory.grow(delta), memory.buffer.byteLength / PAGE]
  })
)

check('grow: without an argument', (W, { all }) => all({ none: () => new W.Memory({ initial: 1 }).grow() }), { none: TYPE })

check(
  'grow: beyond the maximum, declared or not, is a RangeError, and changes nothing',
  (W, { all }) => {
    const limited = new W.Memory({ initial: 1, maximum: 2 })
    const free = new W.Memory({ initial: 1 })
    const { buffer } = limited
    return [
      all({ limited: () => limited.grow(2), free: () => free.grow(65536), most: () => free.grow(0xffffffff) }),
      limited.buffer === buffer,
      buffer.byteLength,
      free.buffer.byteLength,
    ]
  },
  [{ limited: RANGE, free: RANGE, most: RANGE }, true, PAGE, PAGE]
)

check(
  'refresh the memory buffer [#refresh-the-memory-buffer]: detaches, even for no pages at all',
  (W) => {
    const memory = new W.Memory({ initial: 1, maximum: 3 })
    return [0, 1, 0].map((delta) => {
      const { buffer } = memory
      const view = new Uint8Array(buffer)
      memory.grow(delta)
      return [memory.buffer === buffer, buffer.byteLength, view.length, memory.buffer.byteLength / PAGE]
    })
  },
  [
    [false, 0, 0, 1],
    [false, 0, 0, 2],
    [false, 0, 0, 2],
  ]
)

check(
  'refresh the memory buffer: content survives',
  (W) => {
    const memory = new W.Memory({ initial: 1 })
    new Uint8Array(memory.buffer)[PAGE - 1] = 7
    memory.grow(3)
    const bytes = new Uint8Array(memory.buffer)
    return [bytes[PAGE - 1], bytes[PAGE], bytes.length]
  },
  [7, 0, 4 * PAGE]
)

check('grow: the receiver is looked at before delta is converted, delta before the size is read', (W, { all }) => {
  const memory = new W.Memory({ initial: 1, maximum: 5 })
  const mine = {
    valueOf() {
      throw new EvalError('mine')
    },
  }
  return all({
    receiver: () => Reflect.apply(memory.grow, {}, [mine]),
    delta: () => memory.grow(mine),
    reenter: () => [
      memory.grow({
        valueOf() {
          memory.grow(1)
          return 1
        },
      }),
      memory.buffer.byteLength / PAGE,
    ],
  })
})

const MEMORY = `(memory (export "m") 1 4) (func (export "grow") (param i32) (result i32) local.get 0 memory.grow) (func (export "size") (result i32) memory.size)
  (func (export "load") (param i32) (result i32) local.get 0 i32.load8_u) (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store8)`

check('memory.grow [#memory-grow]: detaches like grow(), and nothing when it fails', (W, { link }) => {
  const { m, grow, size } = link(MEMORY)
  return [0, 1, 9, 2, 1].map((delta) => {
    const { buffer } = m
    return [grow(delta), m.buffer === buffer, buffer.byteLength, m.buffer.byteLength / PAGE, size()]
  })
})

check(
  'a memory that grows while its code runs',
  (W, { link }) => {
    const e = link(
      `(import "i" "f" (func $f)) (memory (export "m") 1 4)
    (func (export "run") (result i32) (i32.store8 (i32.const 65535) (i32.const 5)) (call $f) (i32.store8 (i32.const 65536) (i32.const 6)) (i32.add (i32.load8_u (i32.const 65535)) (i32.load8_u (i32.const 65536))))`,
      { i: { f: () => e.m.grow(1) } }
    )
    return [e.run(), e.m.buffer.byteLength]
  },
  [11, 2 * PAGE]
)

check(
  'a memory that several instances share: all see one growth',
  (W, { link }) => {
    const memory = new W.Memory({ initial: 1, maximum: 4 })
    const wat =
      '(import "i" "m" (memory 1)) (func (export "grow") (param i32) (result i32) local.get 0 memory.grow) (func (export "size") (result i32) memory.size) (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store8)'
    const [a, b] = [link(wat, { i: { m: memory } }), link(wat, { i: { m: memory } })]
    const { buffer } = memory
    const first = [a.grow(1), b.size(), buffer.byteLength, memory.buffer.byteLength]
    b.store(PAGE, 9)
    memory.grow(1)
    return [first, new Uint8Array(memory.buffer)[PAGE], a.size(), b.size()]
  },
  [[1, 2, 0, 2 * PAGE], 9, 3, 3]
)

check('traps at the end of a memory', (W, { all, link }) => {
  const { load, store, m } = link(MEMORY)
  return all({
    last: () => load(PAGE - 1),
    beyond: () => load(PAGE),
    negative: () => load(-1),
    storeBeyond: () => store(PAGE, 1),
    grown: () => [m.grow(1), load(PAGE)],
  })
})

// toFixedLengthBuffer, toResizableBuffer

for (const [method, fragment] of [
  ['toFixedLengthBuffer', 'dom-memory-tofixedlengthbuffer'],
  ['toResizableBuffer', 'dom-memory-toresizablebuffer'],
]) {
  check(`${method}() [#${fragment}], where this Node has it`, (W, { all }) => {
    if (!(method in W.Memory.prototype)) return 'absent'
    const limited = () => new W.Memory({ initial: 1, maximum: 3 })
    return all({
      first: () => {
        const memory = limited()
        const { buffer } = memory
        const result = memory[method]()
        return [result === buffer, memory.buffer === result, buffer, result, result.maxByteLength]
      },
      twice: () => {
        const memory = limited()
        return memory[method]() === memory[method]()
      },
      back: () => {
        const memory = limited()
        const resizable = memory.toResizableBuffer()
        const fixed = memory.toFixedLengthBuffer()
        return [resizable, fixed, memory.buffer === fixed]
      },
      noMaximum: () => new W.Memory({ initial: 1 })[method](),
      shared: () => {
        const memory = new W.Memory({ initial: 1, maximum: 3, shared: true })
        return [memory[method](), memory.buffer, Object.isFrozen(memory.buffer)]
      },
      grow: () => {
        const memory = limited()
        const buffer = memory[method]()
        memory.grow(1)
        return [memory.buffer === buffer, buffer, memory.buffer]
      },
      receiver: () => Reflect.apply(W.Memory.prototype[method], {}, []),
    })
  })
}

check('HostResizeArrayBuffer [#HostResizeArrayBuffer]: resize grows by whole pages, never shrinks', (W, { all, link }) => {
  if (!('toResizableBuffer' in W.Memory.prototype)) return 'absent'
  const e = link(MEMORY)
  const buffer = e.m.toResizableBuffer()
  return all({
    page: () => [buffer.resize(2 * PAGE), buffer, e.size(), e.load(PAGE)],
    odd: () => buffer.resize(2 * PAGE + 1),
    shrink: () => buffer.resize(PAGE),
    same: () => [buffer.resize(2 * PAGE), buffer],
    beyond: () => buffer.resize(5 * PAGE),
    wasm: () => [e.grow(1), buffer, e.m.buffer === buffer],
    transfer: () => structuredClone(buffer, { transfer: [buffer] }),
  })
})
