'use strict'
// WebAssembly.validate, compile and instantiate.
// https://webassembly.github.io/spec/js-api/#webassembly-namespace

const vm = require('node:vm')

const test = require('ava')
const { check, engine, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const COMPILE = throws('CompileError')
const LINK = throws('LinkError')

const EMPTY = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
const empty = () => new Uint8Array(EMPTY)

/** Values that are no BufferSource. */
const NO_BUFFER = [undefined, null, true, 1, 1n, 'text', Symbol('s'), {}, [], [0, 0x61, 0x73, 0x6d], () => {}, new Map()]

/** Every way to hold the same eight bytes. */
function sources() {
  const inside = new Uint8Array(24).fill(0xff)
  inside.set(EMPTY, 8)
  const resizable = new ArrayBuffer(8, { maxByteLength: 64 })
  new Uint8Array(resizable).set(EMPTY)
  const shared = new SharedArrayBuffer(8)
  new Uint8Array(shared).set(EMPTY)
  const growable = new Uint8Array(new SharedArrayBuffer(8, { maxByteLength: 64 }))
  growable.set(EMPTY)
  const { buffer } = inside
  return {
    Uint8Array: empty(),
    ArrayBuffer: empty().buffer,
    offset: inside.subarray(8, 16),
    Int8Array: new Int8Array(buffer, 8, 8),
    Uint8ClampedArray: new Uint8ClampedArray(buffer, 8, 8),
    Int16Array: new Int16Array(buffer, 8, 4),
    Uint16Array: new Uint16Array(buffer, 8, 4),
    Int32Array: new Int32Array(buffer, 8, 2),
    Uint32Array: new Uint32Array(buffer, 8, 2),
    Float32Array: new Float32Array(buffer, 8, 2),
    Float64Array: new Float64Array(buffer, 8, 1),
    BigInt64Array: new BigInt64Array(buffer, 8, 1),
    BigUint64Array: new BigUint64Array(buffer, 8, 1),
    Buffer: Buffer.from(EMPTY),
    resizable,
    tracking: new Uint8Array(resizable),
    fixedOnResizable: new Uint8Array(resizable, 0, 8),
    viewOfShared: new Uint8Array(shared),
    viewOfGrowable: growable,
    otherRealm: vm.runInNewContext(`new Uint8Array([${EMPTY}])`),
    otherRealmBuffer: vm.runInNewContext(`new Uint8Array([${EMPTY}]).buffer`),
  }
}

/** Sources that lost their bytes. */
function emptied() {
  const detached = empty()
  structuredClone(detached, { transfer: [detached.buffer] })
  const resizable = new ArrayBuffer(8, { maxByteLength: 64 })
  const outgrown = new Uint8Array(resizable, 4, 4)
  resizable.resize(2)
  return {
    none: new Uint8Array(),
    noBuffer: new ArrayBuffer(0),
    detachedView: detached,
    detachedBuffer: detached.buffer,
    outgrown,
    emptyShared: new Uint8Array(new SharedArrayBuffer(0)),
  }
}

const map = (object, run) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, () => run(value)]))
const fill = (object, value) => Object.fromEntries(Object.keys(object).map((key) => [key, value]))

// validate(bytes)

check(
  'validate(bytes) [#dom-webassembly-validate] 1: any BufferSource',
  (W, { all }) => all(map(sources(), (source) => W.validate(source))),
  fill(sources(), true)
)

check(
  'validate(bytes) [#dom-webassembly-validate] 1: anything else is a TypeError',
  (W, { each }) => each(NO_BUFFER, (value) => W.validate(value)),
  NO_BUFFER.map(() => TYPE)
)

// Web IDL has DataView among the buffer sources; V8 takes typed arrays and ArrayBuffers only.
check('validate(bytes) 1: a DataView', (W, { all }) => {
  const view = new DataView(empty().buffer)
  return all({ validate: () => W.validate(view), module: () => new W.Module(view) })
})

check('validate(bytes): a bare SharedArrayBuffer is no BufferSource (Web IDL, no [AllowShared])', (W, { each }) => {
  const shared = new SharedArrayBuffer(8)
  new Uint8Array(shared).set(EMPTY)
  return each([shared], (value) => W.validate(value))
})

check('validate(bytes): missing argument', (W, { all }) => all({ none: () => W.validate() }), { none: TYPE })

check(
  'validate(bytes) 3: false for no bytes',
  (W, { all }) => all(map(emptied(), (source) => W.validate(source))),
  fill(emptied(), false)
)

check(
  'validate(bytes) 3: false for what is no module',
  (W, { each, assemble }) => {
    const unlinked = assemble('(func (export "f") (result i32) i32.const 1)')
    unlinked[unlinked.lastIndexOf(0x41)] = 0x42
    return each([[0], EMPTY.slice(0, 7), [...EMPTY, 99], [0, 0x61, 0x73, 0x6d, 2, 0, 0, 0], unlinked], (bytes) =>
      W.validate(new Uint8Array(bytes))
    )
  },
  [false, false, false, false, false]
)

check(
  'validate(bytes): a Proxy of a buffer is none',
  (W, { each }) => each([new Proxy(empty(), {}), new Proxy(empty().buffer, {})], (value) => W.validate(value)),
  [TYPE, TYPE]
)

check(
  'validate(bytes): nothing of the buffer is asked by name',
  (W) => {
    const asked = []
    const bytes = empty()
    for (const name of ['buffer', 'byteOffset', 'byteLength', 'length', 'slice', 'constructor']) {
      Object.defineProperty(bytes, name, {
        get() {
          asked.push(name)
          return 0
        },
      })
    }
    return [W.validate(bytes), asked]
  },
  [true, []]
)

check('WebAssemblyCompileOptions: what is no object', (W, { each }) =>
  each([undefined, null, 1, 'x', true, Symbol('s')], (options) => W.validate(empty(), options))
)

check(
  'WebAssemblyCompileOptions: members that nobody knows are ignored',
  (W, { each }) => each([{}, { other: 1 }, [], () => {}], (options) => W.validate(empty(), options)),
  [true, true, true, true]
)

check(
  'WebAssemblyCompileOptions: what is missing is not looked for on Object.prototype',
  (W, { all }) => {
    const names = ['cache', 'signal', 'partition', 'optimize', 'builtins', 'importedStringConstants']
    for (const name of names) Object.defineProperty(Object.prototype, name, { value: 'x', configurable: true })
    try {
      return all({
        missing: () => W.validate(empty()),
        undefined: () => W.validate(empty(), undefined),
        module: () => new W.Module(empty()) instanceof W.Module,
      })
    } finally {
      for (const name of names) delete Object.prototype[name]
    }
  },
  { missing: true, undefined: true, module: true }
)

// compile(bytes)

check(
  'compile(bytes) [#dom-webassembly-compile]: a Module from any BufferSource',
  (W, { allAsync }) => allAsync(map(sources(), async (source) => (await W.compile(source)) instanceof W.Module)),
  fill(sources(), true)
)

check(
  'compile(bytes): rejects with a TypeError, never throws',
  (W, { allAsync }) => {
    const runs = Object.fromEntries(
      NO_BUFFER.map((value, index) => [
        `case ${index}`,
        () => {
          const promise = W.compile(value)
          return promise instanceof Promise ? promise : 'no promise'
        },
      ])
    )
    return allAsync({ ...runs, none: () => W.compile() })
  },
  { ...Object.fromEntries(NO_BUFFER.map((_, index) => [`case ${index}`, TYPE])), none: TYPE }
)

check(
  'compile(bytes): no bytes are a CompileError',
  (W, { allAsync }) => allAsync(map(emptied(), (source) => W.compile(source))),
  fill(emptied(), COMPILE)
)

check(
  'compile(bytes) 1: the bytes are copied before it returns',
  async (W, { assemble }) => {
    const bytes = assemble('(func (export "f"))')
    const promise = W.compile(bytes)
    bytes.fill(0)
    const other = assemble('(func (export "g"))')
    const second = W.compile(other)
    structuredClone(other, { transfer: [other.buffer] })
    return [W.Module.exports(await promise), W.Module.exports(await second)]
  },
  [[{ name: 'f', kind: 'function' }], [{ name: 'g', kind: 'function' }]]
)

check('compile(bytes): each promise has its own Module', async (W) => {
  const bytes = empty()
  const [a, b] = await Promise.all([W.compile(bytes), W.compile(bytes)])
  return [a === b, a, b]
})

check(
  'asynchronously compile [#asynchronously-compile-a-webassembly-module]: settles in a later task, not in this turn’s microtasks',
  async (W) => {
    const order = []
    const done = W.compile(empty()).then(() => order.push('compiled'))
    await Promise.resolve().then(() => order.push('microtask'))
    for (let i = 0; i < 10; i++) await null
    order.push('ten microtasks')
    await done
    return order
  },
  ['microtask', 'ten microtasks', 'compiled']
)

check(
  'CompileError: what every engine says of headers',
  (W, { each }) =>
    each(
      [
        [0],
        [1, 2, 3, 4],
        [1, 2, 3, 4, 5, 6, 7, 8],
        [0, 0x61, 0x73, 0x6d],
        [0, 0x61, 0x73, 0x6d, 2, 0, 0, 0],
        [0, 0x61, 0x73, 0x6d, 0, 0, 0],
      ],
      (bytes) => new W.Module(new Uint8Array(bytes))
    ),
  [COMPILE, COMPILE, COMPILE, COMPILE, COMPILE, COMPILE]
)

check(
  'compile(bytes) rejects with a CompileError for what is invalid',
  async (W, { allAsync, assemble }) => {
    const invalid = assemble('(func (export "f") (result i32) i32.const 1)')
    invalid[invalid.lastIndexOf(0x41)] = 0x42
    return allAsync({ type: () => W.compile(invalid), section: () => W.compile(new Uint8Array([...EMPTY, 99, 0])) })
  },
  { type: COMPILE, section: COMPILE },
  { messages: false }
)

// instantiate

const IMPORTING = '(import "a" "g" (global i32)) (export "g" (global 0))'

check(
  'instantiate(bytes, importObject) [#dom-webassembly-instantiate]: {module, instance}, in this order, plain',
  async (W, { assemble }) => {
    const result = await W.instantiate(assemble('(func (export "f"))'))
    return [
      result,
      Reflect.ownKeys(result),
      Object.getPrototypeOf(result) === Object.prototype,
      Object.values(Object.getOwnPropertyDescriptors(result)).map(({ writable, enumerable, configurable }) => [
        writable,
        enumerable,
        configurable,
      ]),
    ]
  }
)

check('instantiate(moduleObject, importObject): an Instance', async (W, { module }) => {
  const m = module('(func (export "f"))')
  const [a, b] = [await W.instantiate(m), await W.instantiate(m, {})]
  return [a, b, a === b, a.exports.f === b.exports.f]
})

check(
  'instantiate: anything else is a TypeError',
  (W, { allAsync }) =>
    allAsync(
      Object.fromEntries([
        ...NO_BUFFER.map((value, index) => [`case ${index}`, () => W.instantiate(value)]),
        ['none', () => W.instantiate()],
        ['prototype', () => W.instantiate(W.Module.prototype)],
        ['heir', () => W.instantiate(Object.create(new W.Module(empty())))],
        ['proxy', () => W.instantiate(new Proxy(new W.Module(empty()), {}))],
      ])
    ),
  {
    ...Object.fromEntries(NO_BUFFER.map((_, index) => [`case ${index}`, TYPE])),
    none: TYPE,
    prototype: TYPE,
    heir: TYPE,
    proxy: TYPE,
  }
)

check('instantiate: importObject is undefined or an object', (W, { allAsync, module }) => {
  const m = module('')
  const values = [undefined, null, 1, 'x', true, 1n, Symbol('s'), {}, [], () => {}]
  return allAsync(
    Object.fromEntries(
      values.flatMap((value, index) => [
        [`bytes ${index}`, async () => (await W.instantiate(empty(), value)).instance],
        [`module ${index}`, () => W.instantiate(m, value)],
      ])
    )
  )
})

check(
  'instantiate: importObject is checked before the bytes are',
  (W, { allAsync }) =>
    allAsync({
      both: () => W.instantiate(1, 1),
      bytes: () => W.instantiate(new Uint8Array([1]), 1),
    }),
  { both: TYPE, bytes: TYPE }
)

check(
  'asynchronously instantiate [#asynchronously-instantiate-a-webassembly-module] 3: the imports of a Module are read at once',
  async (W, { module }) => {
    const order = []
    const promise = W.instantiate(module(IMPORTING), {
      get a() {
        order.push('read')
        return { g: 1 }
      },
    })
    order.push('returned')
    await promise
    return order
  },
  ['read', 'returned']
)

check(
  'instantiate a promise of a module [#instantiate-a-promise-of-a-module]: those of bytes when they are compiled',
  async (W, { assemble }) => {
    const order = []
    const promise = W.instantiate(assemble(IMPORTING), {
      get a() {
        order.push('read')
        return { g: 1 }
      },
    })
    order.push('returned')
    await null
    order.push('microtask')
    await promise
    return order
  },
  ['returned', 'microtask', 'read']
)

// The specification queues a task; V8 instantiates a Module before it returns.
check('asynchronously instantiate 4: when the start function runs', async (W, { module }) => {
  const order = []
  const m = module('(import "a" "f" (func $f)) (start $f)')
  const promise = W.instantiate(m, { a: { f: () => order.push('start') } })
  order.push('returned')
  await promise
  order.push('resolved')
  return order
})

check(
  'asynchronously instantiate: what is thrown is the reason of the rejection',
  (W, { module, assemble, allAsync }) => {
    const wat = '(import "a" "f" (func $f)) (start $f)'
    const m = module(wat)
    const error = new RangeError('mine')
    const getter = {
      get a() {
        throw error
      },
    }
    const start = {
      a: {
        f() {
          throw error
        },
      },
    }
    const is = (promise) =>
      promise.then(
        () => 'resolved',
        (reason) => (reason === error ? 'mine' : reason)
      )
    return allAsync({
      noImports: () => W.instantiate(m),
      noImportsBytes: () => W.instantiate(assemble(wat)),
      noModule: () => W.instantiate(m, {}),
      noFunction: () => W.instantiate(m, { a: {} }),
      noFunctionBytes: () => W.instantiate(assemble(wat), { a: {} }),
      getter: () => is(W.instantiate(m, getter)),
      getterBytes: () => is(W.instantiate(assemble(wat), getter)),
      start: () => is(W.instantiate(m, start)),
      startBytes: () => is(W.instantiate(assemble(wat), start)),
      link: () => W.instantiate(module('(import "a" "f" (global i64))'), { a: { f: new W.Global({ value: 'i32' }) } }),
      trap: () => W.instantiate(module('(func $s unreachable) (start $s)')),
      trapBytes: () => W.instantiate(assemble('(func $s unreachable) (start $s)')),
      invalid: () => W.instantiate(new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8])),
      empty: () => W.instantiate(new Uint8Array()),
    })
  },
  {
    noImports: TYPE,
    noImportsBytes: TYPE,
    noModule: TYPE,
    noFunction: LINK,
    noFunctionBytes: LINK,
    getter: 'mine',
    getterBytes: 'mine',
    start: 'mine',
    startBytes: 'mine',
    link: LINK,
    trap: throws('RuntimeError'),
    trapBytes: throws('RuntimeError'),
    invalid: COMPILE,
    empty: COMPILE,
  }
)

check('instantiate(bytes): the promise resolves with the dictionary, whose `then` nobody calls', async (W, { assemble }) => {
  // A dictionary becomes an ordinary object, and resolving looks for its `then`.
  const looked = []
  Object.defineProperty(Object.prototype, 'then', {
    configurable: true,
    get() {
      looked.push(Object.hasOwn(this, 'instance') ? 'result' : 'other')
      return undefined
    },
  })
  try {
    await W.instantiate(assemble(''))
  } finally {
    delete Object.prototype.then
  }
  return looked.filter((what) => what === 'result')
})

check('instantiate: an exported `then` is not taken for a promise', async (W, { module }) => {
  const instance = await W.instantiate(module('(func (export "then") unreachable)'))
  return [instance, typeof instance.exports.then]
})

check(
  'new promise (Web IDL): they are the realm’s own, whatever `then` and Promise became',
  async (W, { assemble }) => {
    class Other extends Promise {}
    const original = Promise
    let promises
    globalThis.Promise = Other
    try {
      promises = [W.compile(empty()), W.instantiate(empty()), W.instantiate(new W.Module(assemble('')))]
    } finally {
      globalThis.Promise = original
    }
    const classes = promises.map((promise) => promise.constructor === original)
    await original.all(promises)
    return classes
  },
  [true, true, true]
)

// JSTag

check('JSTag [#dom-webassembly-jstag]: one Tag for ever', (W) => {
  if (!('JSTag' in W)) return 'absent'
  return [Object.prototype.toString.call(W.JSTag), W.JSTag === W.JSTag]
})

// Of the namespace in force alone: there is but one such object.
test('JSTag is a Tag', (t) => {
  t.true(!('JSTag' in engine) || engine.JSTag instanceof engine.Tag)
})
