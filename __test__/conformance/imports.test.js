'use strict'
// Reading the imports, and the matching of their types.
// https://webassembly.github.io/spec/js-api/#read-the-imports
// https://webassembly.github.io/spec/core/exec/modules.html#instantiation (matching)

const vm = require('node:vm')

const { check, throws, v8 } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const LINK = throws('LinkError')

/** An object that writes down what is asked of it. */
const watched = (log, name, members) =>
  new Proxy(
    members,
    Object.fromEntries(
      Reflect.ownKeys(Reflect)
        .filter((trap) => typeof Reflect[trap] === 'function')
        .map((trap) => [
          trap,
          (target, ...rest) => {
            log.push(`${trap} ${name}${typeof rest[0] === 'string' ? `.${rest[0]}` : ''}`)
            const result = Reflect[trap](target, ...rest)
            return result
          },
        ])
    )
  )

check(
  'read the imports 1: imports are needed where the module has some',
  (W, { all, module }) =>
    all({
      none: () => new W.Instance(module('')) instanceof W.Instance,
      needed: () => new W.Instance(module('(import "a" "b" (func))')),
      undefined: () => new W.Instance(module('(import "a" "b" (func))'), undefined),
    }),
  { none: true, needed: TYPE, undefined: TYPE }
)

check(
  'read the imports 3: Get of the module’s name and Get of the field’s, for each import in order',
  (W, { link }) => {
    const log = []
    const a = watched(log, 'a', { f() {}, g: 1 })
    const b = watched(log, 'b', { m: new W.Memory({ initial: 1 }) })
    const imports = watched(log, 'imports', { a, b })
    link(
      '(import "a" "f" (func)) (import "b" "m" (memory 1)) (import "a" "g" (global i32)) (import "a" "f" (func (param i32)))',
      imports
    )
    return log
  },
  ['get imports.a', 'get a.f', 'get imports.b', 'get b.m', 'get imports.a', 'get a.g', 'get imports.a', 'get a.f']
)

check(
  'read the imports: a module without imports asks nothing of importObject',
  (W, { link }) => {
    const log = []
    link('(func (export "f"))', watched(log, 'imports', {}))
    return log
  },
  []
)

// V8 reads all, then looks at the kind and the type of one after the other.
check(
  'read the imports: it ends at the first import that is wrong',
  (W, { all, link }) => {
    const log = []
    const imports = watched(log, 'imports', { a: watched(log, 'a', { f: 1, g: 1 }) })
    return [all({ run: () => link('(import "a" "f" (func)) (import "a" "g" (global i32)) (import "b" "c" (func))', imports) }), log]
  },
  [{ run: LINK }, ['get imports.a', 'get a.f']],
  { deviates: true }
)

check(
  'read the imports: the kinds of all are looked at before any type is matched',
  (W, { all, link }) => {
    const log = []
    const imports = watched(log, 'imports', { a: watched(log, 'a', { g: new W.Global({ value: 'i64' }), f: 1 }) })
    return [all({ run: () => link('(import "a" "g" (global i32)) (import "a" "f" (func))', imports) }), log]
  },
  [{ run: LINK }, ['get imports.a', 'get a.g', 'get imports.a', 'get a.f']],
  { messages: false }
)

check(
  'read the imports: getters have their object as receiver, and what they throw is thrown',
  (W, { all, link }) => {
    const seen = []
    const a = {
      get f() {
        seen.push(this === a)
        return () => {}
      },
      get g() {
        throw new RangeError('mine')
      },
    }
    const imports = Object.create({
      get a() {
        seen.push(this === imports)
        return a
      },
      get x() {
        throw new RangeError('module')
      },
    })
    return [
      all({
        f: () => typeof link('(import "a" "f" (func))', imports),
        g: () => link('(import "a" "g" (func))', imports),
        x: () => link('(import "x" "g" (func))', imports),
      }),
      seen,
    ]
  },
  [{ f: 'object', g: throws('RangeError'), x: throws('RangeError') }, [true, true, true]]
)

check(
  'read the imports 3.2: what the module’s name gives has to be an object',
  (W, { each, link }) => each([undefined, null, true, 1, 1n, 'text', Symbol('s')], (a) => link('(import "a" "f" (func))', { a })),
  Array(7).fill(TYPE)
)

check(
  'read the imports: any object does',
  (W, { each, link }) => {
    const f = () => {}
    const callable = Object.assign(() => {}, { f })
    return each(
      [
        { f },
        callable,
        Object.create({ f }),
        new Proxy({ f }, {}),
        Object.assign([], { f }),
        vm.runInNewContext('({ f() {} })'),
        new (class {
          f() {}
        })(),
      ],
      (a) => typeof link('(import "a" "f" (func))', { a })
    )
  },
  Array(7).fill('object')
)

check(
  'read the imports: names are those of the module, whatever they are',
  (W, { link }) => {
    const log = []
    const any = () =>
      new Proxy(
        {},
        {
          get(_, key) {
            log.push(key)
            return log.length % 2 === 1 ? any() : () => {}
          },
        }
      )
    link(
      '(import "" "" (func)) (import "0" "1" (func)) (import "__proto__" "constructor" (func)) (import "\\u{1f600}" "\\u{0}" (func)) (import "a b" "then" (func))',
      any()
    )
    return log
  },
  ['', '', '0', '1', '__proto__', 'constructor', '\u{1f600}', '\0', 'a b', 'then']
)

check(
  'read the imports: integer names on arrays',
  (W, { link }) => {
    const seen = []
    link('(import "0" "1" (func $f)) (start $f)', [[, () => seen.push('called')]]) // eslint-disable-line no-sparse-arrays
    return seen
  },
  ['called']
)

// Kinds

const valuesOf = (W, link) => ({
  undefined,
  null: null,
  true: true,
  zero: 0,
  NaN,
  big: 1n,
  text: 'x',
  symbol: Symbol('s'),
  object: {},
  array: [],
  arrow: () => {},
  class: class {},
  bound: () => {},
  async: async () => {},
  *generator() {},
  proxy: new Proxy(() => {}, {}),
  exported: link('(func (export "f"))').f,
  otherRealm: vm.runInNewContext('(function () {})'),
  memory: new W.Memory({ initial: 1, maximum: 1 }),
  shared: new W.Memory({ initial: 1, maximum: 1, shared: true }),
  table: new W.Table({ element: 'anyfunc', initial: 1, maximum: 1 }),
  externTable: new W.Table({ element: 'externref', initial: 1, maximum: 1 }),
  i32: new W.Global({ value: 'i32' }),
  i64: new W.Global({ value: 'i64' }),
  f32: new W.Global({ value: 'f32' }),
  f64: new W.Global({ value: 'f64' }),
  externref: new W.Global({ value: 'externref' }),
  anyfunc: new W.Global({ value: 'anyfunc' }),
  mutI32: new W.Global({ value: 'i32', mutable: true }),
  mutRef: new W.Global({ value: 'externref', mutable: true }),
  tag: new W.Tag({ parameters: [] }),
  tagI32: new W.Tag({ parameters: ['i32'] }),
  memoryHeir: Object.create(new W.Memory({ initial: 1 })),
  memoryProxy: new Proxy(new W.Memory({ initial: 1 }), {}),
  globalProxy: new Proxy(new W.Global({ value: 'i32' }), {}),
  globalHeir: Object.create(new W.Global({ value: 'i32' })),
  Memory: W.Memory,
  prototype: W.Memory.prototype,
  tablePrototype: W.Table.prototype,
  globalPrototype: W.Global.prototype,
  tagPrototype: W.Tag.prototype,
  instance: new W.Instance(new W.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))),
  exception: new W.Exception(new W.Tag({ parameters: [] }), []),
  boxed: Object(1),
  valueOf: { valueOf: () => 1 },
})

// V8 11 does not name the memory whose sharedness is wrong.
const wordsOf = (type) => ({ messages: v8 >= 12 || !type.startsWith('(memory') })

for (const [type, fragment] of [
  ['(func)', 'func: IsCallable'],
  ['(func (param i32) (result i64))', 'func: its type'],
  ['(memory 1)', 'mem: a Memory'],
  ['(memory 1 1)', 'mem: a Memory with a maximum'],
  ['(memory 1 1 shared)', 'mem: a shared Memory'],
  ['(table 1 funcref)', 'table: a Table'],
  ['(table 1 externref)', 'table: a Table of externref'],
  ['(global i32)', 'global i32'],
  ['(global i64)', 'global i64'],
  ['(global f32)', 'global f32'],
  ['(global f64)', 'global f64'],
  ['(global externref)', 'global externref'],
  ['(global funcref)', 'global funcref'],
  ['(global (mut i32))', 'global mut i32'],
  ['(global (mut externref))', 'global mut externref'],
  ['(global (mut funcref))', 'global mut funcref'],
  ['(global v128)', 'global v128'],
  ['(tag)', 'tag: a Tag'],
  ['(tag (param i32))', 'tag: its type'],
]) {
  check(
    `read the imports 3.4, ${fragment}: every sort of value`,
    (W, { all, module, link }) => {
      const m = module(`(import "mod" "field" ${type})`)
      return all(
        Object.fromEntries(
          Object.entries(valuesOf(W, link)).map(([name, field]) => [name, () => new W.Instance(m, { mod: { field } })])
        )
      )
    },
    undefined,
    wordsOf(type)
  )
}

check(
  'read the imports, global: values arrive as ToWebAssemblyValue makes them',
  (W, { link, each }) => {
    const cases = [
      ['i32', 2 ** 31],
      ['i32', 1.9],
      ['i32', NaN],
      ['i64', 2n ** 63n],
      ['i64', -1n],
      ['f32', 0.1],
      ['f32', 2 ** 128],
      ['f64', -0],
      ['externref', null],
      ['externref', undefined],
      ['externref', 'x'],
      ['funcref', null],
    ]
    return each(
      cases,
      ([type, value]) => link(`(import "i" "g" (global ${type})) (export "g" (global 0))`, { i: { g: value } }).g.value
    )
  },
  [-(2 ** 31), 1, 0, -(2n ** 63n), -1n, Math.fround(0.1), Infinity, -0, null, undefined, 'x', null]
)

check(
  'read the imports, global funcref: an exported function',
  (W, { link }) => {
    const { f } = link('(func (export "f"))')
    const e = link(
      '(import "i" "g" (global funcref)) (export "g" (global 0)) (func (export "get") (result funcref) global.get 0)',
      { i: { g: f } }
    )
    return [e.g.value === f, e.get() === f]
  },
  [true, true]
)

check(
  'read the imports: an import is read once, whatever a getter answers later',
  (W, { link }) => {
    let count = 0
    const { g } = link('(import "i" "g" (global i32)) (import "i" "g" (global i32)) (export "g" (global 1))', {
      i: {
        get g() {
          return ++count
        },
      },
    })
    return [g.value, count]
  },
  [2, 2]
)

check(
  'read the imports: a getter that instantiates, grows and links',
  (W, { module }) => {
    const m = module(
      '(import "i" "m" (memory 1)) (import "i" "f" (func (result i32))) (export "f" (func 0)) (func (export "size") (result i32) memory.size)'
    )
    const memory = new W.Memory({ initial: 1 })
    const i = {
      m: memory,
      get f() {
        memory.grow(1)
        new W.Instance(m, { i: { m: memory, f: () => 1 } })
        memory.grow(1)
        return () => memory.buffer.byteLength / 65536
      },
    }
    const { exports: e } = new W.Instance(m, { i })
    return [e.f(), e.size()]
  },
  [3, 3]
)

check(
  'read the imports: revoked proxies',
  (W, { all, link }) => {
    const revoked = (target) => {
      const { proxy, revoke } = Proxy.revocable(target, {})
      revoke()
      return proxy
    }
    return all({
      imports: () => link('(import "a" "f" (func))', revoked({})),
      module: () => link('(import "a" "f" (func))', { a: revoked({}) }),
      noImports: () => typeof link('', revoked({})),
      // A revoked proxy of a function is callable still, until it is called.
      field: () => typeof link('(import "a" "f" (func))', { a: { f: revoked(() => {}) } }),
      called: () => link('(import "a" "f" (func $f)) (start $f)', { a: { f: revoked(() => {}) } }),
    })
  },
  { imports: TYPE, module: TYPE, noImports: 'object', field: 'object', called: TYPE }
)

check(
  'read the imports: what is imported gets no property by it',
  (W, { link }) => {
    class Mine extends W.Memory {
      grow(delta) {
        return super.grow(delta)
      }
    }
    const i = {
      own: new W.Memory({ initial: 1, maximum: 4 }),
      mine: new Mine({ initial: 1, maximum: 4 }),
      shared: structuredClone(new W.Memory({ initial: 1, maximum: 4, shared: true })),
      table: new W.Table({ element: 'anyfunc', initial: 1 }),
      global: new W.Global({ value: 'i32' }),
      tag: new W.Tag({ parameters: [] }),
      f() {},
    }
    const before = Object.values(i).map((value) => Reflect.ownKeys(value))
    link('(import "i" "own" (memory 1))', { i })
    link('(import "i" "mine" (memory 1))', { i })
    link('(import "i" "shared" (memory 1 4 shared))', { i })
    link(
      '(import "i" "table" (table 1 funcref)) (import "i" "global" (global i32)) (import "i" "tag" (tag)) (import "i" "f" (func))',
      { i }
    )
    return Object.values(i).map((value, index) => Reflect.ownKeys(value).length === before[index].length)
  },
  Array(7).fill(true)
)

check(
  'a memory that came from elsewhere grows for all who import it',
  (W, { link }) => {
    const memory = structuredClone(new W.Memory({ initial: 1, maximum: 4, shared: true }))
    const { size, store } = link(
      '(import "i" "m" (memory 1 4 shared)) (func (export "size") (result i32) memory.size) (func (export "store") (param i32 i32) local.get 0 local.get 1 i32.store8)',
      { i: { m: memory } }
    )
    const result = [memory.grow(1), size(), Reflect.apply(W.Memory.prototype.grow, memory, [1]), size()]
    store(3 * 65536 - 1, 7)
    return [result, new Uint8Array(memory.buffer)[3 * 65536 - 1]]
  },
  [[1, 2, 2, 3], 7]
)

// Matching

check('import matching, func: exported functions by their type, JavaScript’s are of any', (W, { all, link }) => {
  const types = [
    '',
    '(param i32)',
    '(param i64)',
    '(result i32)',
    '(param i32 i32)',
    '(result i32 i32)',
    '(param externref)',
    '(param funcref)',
  ]
  const runs = {}
  for (const given of types) {
    const { f } = link(`(func (export "f") ${given} unreachable)`)
    for (const wanted of types) {
      runs[`${given} for ${wanted}`] = () => typeof link(`(import "i" "f" (func ${wanted}))`, { i: { f } })
    }
  }
  return all(runs)
})

check(
  'import matching, func: a JavaScript function that was exported has its type',
  (W, { all, link }) => {
    const { f } = link('(import "i" "f" (func (param i32))) (export "f" (func 0))', { i: { f() {} } })
    return all({
      same: () => typeof link('(import "i" "f" (func (param i32)))', { i: { f } }),
      other: () => link('(import "i" "f" (func))', { i: { f } }),
    })
  },
  { same: 'object', other: LINK }
)

for (const [kind, suffix, make] of [
  ['memory', '', (W, descriptor) => new W.Memory(descriptor)],
  ['table', ' funcref', (W, descriptor) => new W.Table({ element: 'anyfunc', ...descriptor })],
]) {
  check(
    `import matching, ${kind}: limits`,
    (W, { all, link }) => {
      const descriptors = [
        { initial: 0 },
        { initial: 1 },
        { initial: 2 },
        { initial: 1, maximum: 1 },
        { initial: 1, maximum: 2 },
        { initial: 1, maximum: 3 },
        { initial: 2, maximum: 2 },
      ]
      const runs = {}
      for (const limits of ['0', '1', '2', '1 1', '1 2', '0 0']) {
        for (const descriptor of descriptors) {
          runs[`${JSON.stringify(descriptor)} for ${limits}`] = () =>
            typeof link(`(import "i" "x" (${kind} ${limits}${suffix}))`, { i: { x: make(W, descriptor) } })
        }
      }
      return all(runs)
    },
    undefined,
    { messages: false }
  )

  check(
    `import matching, ${kind}: its present size counts, not its initial one`,
    (W, { all, link }) => {
      const x = make(W, { initial: 1, maximum: 5 })
      x.grow(2)
      return all({
        three: () => typeof link(`(import "i" "x" (${kind} 3${suffix}))`, { i: { x } }),
        four: () => link(`(import "i" "x" (${kind} 4${suffix}))`, { i: { x } }),
      })
    },
    { three: 'object', four: LINK },
    { messages: false }
  )
}

check(
  'import matching, memory: the address type',
  (W, { all, link }) => {
    if (v8 < 13) return 'no memory64'
    const wide = { initial: 1n, maximum: 4n, address: 'i64' }
    return all({
      plain: () => link('(import "i" "m" (memory 1))', { i: { m: new W.Memory(wide) } }),
      shared: () => link('(import "i" "m" (memory 1 4 shared))', { i: { m: new W.Memory({ ...wide, shared: true }) } }),
      narrow: () => typeof link('(import "i" "m" (memory 1))', { i: { m: new W.Memory({ initial: 1, address: 'i32' }) } }),
    })
  },
  v8 < 13 ? 'no memory64' : { plain: LINK, shared: LINK, narrow: 'object' },
  { messages: false }
)

check(
  'import matching, memory: what its buffer calls itself is no matter',
  (W, { all, link }) => {
    const memory = new W.Memory({ initial: 1, maximum: 4 })
    Object.defineProperty(memory.buffer, Symbol.toStringTag, { value: 'SharedArrayBuffer' })
    return all({
      plain: () => link('(import "i" "m" (memory 1 4)) (func (export "f") (result i32) memory.size)', { i: { m: memory } }).f(),
      shared: () => link('(import "i" "m" (memory 1 4 shared))', { i: { m: memory } }),
    })
  },
  { plain: 1, shared: LINK },
  { messages: false }
)

check(
  'import matching, memory: exported ones keep the maximum they were declared with',
  (W, { all, link }) => {
    const { m } = link('(memory (export "m") 1 3)')
    const { none } = link('(memory (export "none") 1)')
    return all({
      three: () => typeof link('(import "i" "m" (memory 1 3))', { i: { m } }),
      two: () => link('(import "i" "m" (memory 1 2))', { i: { m } }),
      none: () => link('(import "i" "m" (memory 1 65536))', { i: { m: none } }),
    })
  },
  { three: 'object', two: LINK, none: LINK },
  { messages: false }
)

check('import matching, global: type and mutability', (W, { all, link }) => {
  const runs = {}
  for (const value of ['i32', 'i64', 'f32', 'f64', 'externref', 'anyfunc']) {
    for (const mutable of [false, true]) {
      for (const wanted of ['i32', 'i64', 'f32', 'f64', 'externref', 'funcref']) {
        for (const type of [wanted, `(mut ${wanted})`]) {
          runs[`${value} ${mutable} for ${type}`] = () =>
            typeof link(`(import "i" "g" (global ${type}))`, { i: { g: new W.Global({ value, mutable }) } })
        }
      }
    }
  }
  return all(runs)
})

check('import matching, tag: type, and identity apart', (W, { all, link }) => {
  const runs = {}
  for (const given of [[], ['i32'], ['i64'], ['i32', 'i32'], ['externref'], ['anyfunc']]) {
    for (const wanted of ['', 'i32', 'i64', 'i32 i32', 'externref', 'funcref']) {
      runs[`${given} for ${wanted}`] = () =>
        typeof link(`(import "i" "t" (tag (param ${wanted})))`, { i: { t: new W.Tag({ parameters: given }) } })
    }
  }
  return all(runs)
})

check(
  'import matching: the first of several is named',
  (W, { all, link }) =>
    all({
      second: () => link('(import "a" "f" (func)) (import "a" "g" (global i32))', { a: { f() {}, g: 'x' } }),
      longNames: () => link(`(import "${'m'.repeat(200)}" "${'n'.repeat(200)}" (func))`, { ['m'.repeat(200)]: {} }),
      empty: () => link('(import "" "" (func))', { '': {} }),
      odd: () => link('(import "a\\22b" "\\u{2603}\\n" (func))', { 'a"b': {} }),
      moduleOdd: () => link('(import "\\u{2603}" "x" (func))', {}),
    }),
  { second: LINK, longNames: LINK, empty: LINK, odd: LINK, moduleOdd: TYPE }
)
