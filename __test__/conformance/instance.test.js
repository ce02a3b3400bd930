'use strict'
// WebAssembly.Instance: the constructor, the exports object, instantiation and its start function.
// https://webassembly.github.io/spec/js-api/#instances

const { check, throws, v8 } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const LINK = throws('LinkError')
const RUNTIME = throws('RuntimeError')

check(
  'Instance(module, importObject) [#dom-instance-instance]: wants new',
  (W, { all, module }) =>
    all({
      call: () => W.Instance(module('')),
      apply: () => Reflect.apply(W.Instance, {}, [module('')]),
    }),
  { call: TYPE, apply: TYPE }
)

check(
  'Instance: wants a Module',
  (W, { each, module }) =>
    each(
      [
        undefined,
        null,
        1,
        'x',
        {},
        [],
        W.Module,
        W.Module.prototype,
        Object.create(module('')),
        new Proxy(module(''), {}),
        new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]),
      ],
      (value) => new W.Instance(value)
    ),
  Array(11).fill(TYPE)
)

check(
  'Instance: importObject is undefined or an object',
  (W, { each, module }) =>
    each(
      [undefined, null, true, 1, 1n, 'x', Symbol('s'), {}, [], () => {}, new Proxy({}, {})],
      (value) => new W.Instance(module(''), value) instanceof W.Instance
    ),
  [true, TYPE, TYPE, TYPE, TYPE, TYPE, TYPE, true, true, true, true]
)

check('Instance: the Module is looked at first', (W, { all }) => all({ both: () => new W.Instance({}, 1) }), { both: TYPE })

check(
  'Instance: an object with the prototype of new.target',
  (W, { module }) => {
    class Mine extends W.Instance {}
    const mine = new Mine(module('(func (export "f"))'))
    const plain = new W.Instance(module(''))
    return [
      Object.getPrototypeOf(mine) === Mine.prototype,
      Object.keys(mine.exports),
      Reflect.ownKeys(plain),
      Object.isExtensible(plain),
      String(plain),
    ]
  },
  [true, ['f'], [], true, '[object WebAssembly.Instance]']
)

check('Instance: prototype of new.target and errors of linking', (W, { all, module }) => {
  const target = new Proxy(function () {}, {
    get() {
      throw new RangeError('prototype')
    },
  })
  return all({
    fine: () => Reflect.construct(W.Instance, [module('')], target),
    noModule: () => Reflect.construct(W.Instance, [1], target),
    noImports: () => Reflect.construct(W.Instance, [module('(import "a" "b" (func))')], target),
  })
})

// Create an exports object

check('create an exports object [#create-an-exports-object]: frozen, without a prototype', (W, { link }) => {
  const exported = link(
    '(func (export "f")) (memory (export "m") 1) (table (export "t") 1 funcref) (global (export "g") i32 (i32.const 1)) (tag (export "e"))'
  )
  return [
    exported,
    Object.getPrototypeOf(exported),
    Object.isFrozen(exported),
    Object.values(Object.getOwnPropertyDescriptors(exported)).map(({ writable, enumerable, configurable }) =>
      [writable, enumerable, configurable].join()
    ),
    Object.prototype.toString.call(exported),
  ]
})

check('create an exports object: nothing can be changed', (W, { all, link }) => {
  const exported = link('(func (export "f"))')
  return all({
    set: () => (exported.f = 1),
    add: () => (exported.g = 1),
    delete: () => delete exported.f,
    define: () => Object.defineProperty(exported, 'f', { value: 1 }),
    prototype: () => Object.setPrototypeOf(exported, {}),
    reflect: () => [Reflect.set(exported, 'f', 1), Reflect.deleteProperty(exported, 'f'), Reflect.setPrototypeOf(exported, null)],
  })
})

check(
  'create an exports object: own properties in the order of CreateDataProperty, integer names first',
  (W, { link }) =>
    Reflect.ownKeys(
      link(
        '(func $f) (export "b" (func $f)) (export "10" (func $f)) (export "a" (func $f)) (export "2" (func $f)) (export "__proto__" (func $f)) (export "constructor" (func $f)) (export "" (func $f)) (export "-1" (func $f)) (export "4294967295" (func $f)) (export "\\u{1f600}" (func $f))'
      )
    ),
  ['2', '10', 'b', 'a', '__proto__', 'constructor', '', '-1', '4294967295', '\u{1f600}']
)

check(
  'create an exports object: one object for one address',
  (W, { link }) => {
    const e = link(`
    (func $f (export "f1")) (export "f2" (func $f)) (memory $m (export "m1") 1) (export "m2" (memory $m))
    (table $t (export "t1") 1 funcref) (export "t2" (table $t)) (tag $e (export "e1")) (export "e2" (tag $e))`)
    return ['f', 'm', 't', 'e'].map((kind) => e[`${kind}1`] === e[`${kind}2`])
  },
  [true, true, true, true]
)

// V8 makes a Global for each name under which a module exports its global.
check(
  'create an exports object: one Global for one address',
  (W, { link }) => {
    const { a, b, c, d } = link(
      '(global $g (export "a") i32 (i32.const 1)) (export "b" (global $g)) (global $h (export "c") (mut i32) (i32.const 1)) (export "d" (global $h))'
    )
    return [a === b, c === d, (c.value = 5), d.value]
  },
  [true, true, 5, 5],
  { deviates: true }
)

check(
  'create an exports object: imports that are exported again keep their identity',
  (W, { link }) => {
    const first = link(
      '(func (export "f")) (memory (export "m") 1) (table (export "t") 1 funcref) (global (export "g") i32 (i32.const 1)) (global (export "v") (mut i32) (i32.const 1)) (tag (export "e"))'
    )
    const again = link(
      `
    (import "i" "f" (func)) (import "i" "m" (memory 1)) (import "i" "t" (table 1 funcref)) (import "i" "g" (global i32)) (import "i" "v" (global (mut i32))) (import "i" "e" (tag))
    (export "f" (func 0)) (export "m" (memory 0)) (export "t" (table 0)) (export "g" (global 0)) (export "v" (global 1)) (export "e" (tag 0))`,
      { i: first }
    )
    return ['f', 'm', 't', 'g', 'v', 'e'].map((name) => first[name] === again[name])
  },
  [true, true, true, true, true, true]
)

check(
  'create an exports object: objects of JavaScript keep theirs',
  (W, { link }) => {
    const i = {
      m: new W.Memory({ initial: 1 }),
      t: new W.Table({ element: 'anyfunc', initial: 1 }),
      r: new W.Table({ element: 'externref', initial: 1 }),
      g: new W.Global({ value: 'i32' }, 1),
      v: new W.Global({ value: 'externref', mutable: true }, 1),
      e: new W.Tag({ parameters: [] }),
    }
    const e = link(
      `
    (import "i" "m" (memory 1)) (import "i" "t" (table 1 funcref)) (import "i" "r" (table 1 externref)) (import "i" "g" (global i32)) (import "i" "v" (global (mut externref))) (import "i" "e" (tag))
    (export "m" (memory 0)) (export "t" (table 0)) (export "r" (table 1)) (export "g" (global 0)) (export "v" (global 1)) (export "e" (tag 0))`,
      { i }
    )
    return Object.keys(i).map((name) => i[name] === e[name])
  },
  [true, true, true, true, true, true]
)

check('create an exports object: a plain number given for a global becomes a new Global', (W, { link }) => {
  const wat = '(import "i" "g" (global i32)) (export "g" (global 0))'
  const [a, b] = [link(wat, { i: { g: 5 } }), link(wat, { i: { g: 5 } })]
  return [a.g, a.g.value, a.g === b.g]
})

check(
  'create an exports object: two instances of a module share nothing of their own',
  (W, { module }) => {
    const m = module(
      '(func (export "f")) (memory (export "m") 1) (table (export "t") 1 funcref) (global (export "g") i32 (i32.const 1)) (tag (export "e"))'
    )
    const [a, b] = [new W.Instance(m).exports, new W.Instance(m).exports]
    return Object.keys(a).map((name) => a[name] === b[name])
  },
  [false, false, false, false, false]
)

// exports

check(
  'exports [#dom-instance-exports]: the same object each time, no setter',
  (W, { all, module }) => {
    const instance = new W.Instance(module('(func (export "f"))'))
    const { exports: exported } = instance
    const { set, enumerable, configurable } = Object.getOwnPropertyDescriptor(W.Instance.prototype, 'exports')
    return [instance.exports === exported, set, enumerable, configurable, all({ set: () => (instance.exports = 1) })]
  },
  [true, undefined, true, true, { set: TYPE }]
)

// Instantiate the core of a WebAssembly module

check(
  'module_instantiate [#instantiate-the-core-of-a-webassembly-module] 3: a start function that traps is a RuntimeError',
  (W, { all, link }) =>
    all({
      unreachable: () => link('(func $s unreachable) (start $s)'),
      divide: () => link('(func $s (drop (i32.div_s (i32.const 1) (i32.const 0)))) (start $s)'),
    }),
  { unreachable: RUNTIME, divide: RUNTIME }
)

check(
  'module_instantiate 3: what inner JavaScript threw is thrown on',
  (W, { each, link }) =>
    each([new Error('x'), 'text', undefined, null, 0, Symbol.iterator], (thrown) => {
      try {
        link('(import "a" "f" (func $f)) (start $f)', {
          a: {
            f() {
              throw thrown
            },
          },
        })
        return 'nothing thrown'
      } catch (error) {
        return error === thrown
      }
    }),
  [true, true, true, true, true, true]
)

check(
  'module_instantiate 3: active segments that do not fit',
  (W, { all, link }) =>
    all({
      data: () => link('(memory 1) (data (i32.const 65536) "x")'),
      dataEnd: () => link('(memory 1) (data (i32.const 65535) "xy")'),
      dataNegative: () => link('(memory 1) (data (i32.const -1) "x")'),
      emptyAtEnd: () => Object.keys(link('(memory 1) (data (i32.const 65536) "")')),
      emptyBeyond: () => link('(memory 1) (data (i32.const 65537) "")'),
      noPages: () => link('(memory 0) (data (i32.const 0) "x")'),
      elem: () => link('(table 1 funcref) (elem (i32.const 1) $f) (func $f)'),
      elemNegative: () => link('(table 1 funcref) (elem (i32.const -1) $f) (func $f)'),
      emptyElem: () => Object.keys(link('(table 1 funcref) (elem (i32.const 1))')),
      emptyElemBeyond: () => link('(table 1 funcref) (elem (i32.const 2))'),
      imported: () => link('(import "i" "g" (global i32)) (memory 1) (data (global.get 0) "x")', { i: { g: 70000 } }),
    }),
  {
    data: RUNTIME,
    dataEnd: RUNTIME,
    dataNegative: RUNTIME,
    emptyAtEnd: [],
    emptyBeyond: RUNTIME,
    noPages: RUNTIME,
    elem: RUNTIME,
    elemNegative: RUNTIME,
    emptyElem: [],
    emptyElemBeyond: RUNTIME,
    imported: RUNTIME,
  }
)

check(
  'module_instantiate: segments before the failing one have been written',
  (W, { all, link }) => {
    const memory = new W.Memory({ initial: 1 })
    const table = new W.Table({ element: 'anyfunc', initial: 2 })
    const outcome = all({
      run: () =>
        link(
          '(import "i" "m" (memory 1)) (import "i" "t" (table 2 funcref)) (func $f) (elem (i32.const 0) $f) (elem (i32.const 2) $f) (data (i32.const 0) "a")',
          { i: { m: memory, t: table } }
        ),
    })
    const second = all({
      run: () =>
        link('(import "i" "m" (memory 1)) (data (i32.const 1) "b") (data (i32.const 65536) "c") (data (i32.const 2) "d")', {
          i: { m: memory },
        }),
    })
    return [outcome, second, typeof table.get(0), table.get(1), [...new Uint8Array(memory.buffer, 0, 3)]]
  },
  [{ run: RUNTIME }, { run: RUNTIME }, 'function', null, [0, 98, 0]]
)

check(
  'module_instantiate: functions of an instance whose start failed live on in a table',
  (W, { all, link }) => {
    const table = new W.Table({ element: 'anyfunc', initial: 1 })
    const outcome = all({
      run: () =>
        link(
          '(import "i" "t" (table 1 funcref)) (func $f (result i32) i32.const 7) (elem (i32.const 0) $f) (func $s unreachable) (start $s)',
          { i: { t: table } }
        ),
    })
    return [outcome, table.get(0)()]
  },
  [{ run: RUNTIME }, 7]
)

check(
  'module_instantiate: the start function may be an import, and sees the segments written',
  (W, { link }) => {
    const seen = []
    const memory = new W.Memory({ initial: 1 })
    link('(import "i" "m" (memory 1)) (import "i" "f" (func $f)) (data (i32.const 0) "a") (start $f)', {
      i: {
        m: memory,
        f(...values) {
          seen.push(this, values, new Uint8Array(memory.buffer)[0])
        },
      },
    })
    return seen
  },
  [undefined, [], 97]
)

check(
  'module_instantiate: constant expressions',
  (W, { link }) => {
    const e = link(
      `
    (import "i" "a" (global $a i32)) (import "i" "r" (global $r externref)) (import "i" "l" (global $l i64))
    (global (export "get") i32 (global.get $a)) (global (export "ref") externref (global.get $r)) (global (export "long") i64 (global.get $l))
    (global (export "nan") f32 (f32.const nan)) (global (export "inf") f64 (f64.const -inf)) (global (export "min") i64 (i64.const -9223372036854775808))
    (global (export "func") funcref (ref.func $f)) (global (export "none") externref (ref.null extern)) (func $f (export "f"))`,
      { i: { a: 5, r: 'x', l: 7n } }
    )
    return [...['get', 'ref', 'long', 'nan', 'inf', 'min', 'none'].map((name) => e[name].value), e.func.value === e.f]
  },
  [5, 'x', 7n, NaN, -Infinity, -9223372036854775808n, null, true]
)

check('module_instantiate: a large memory and table', (W, { all, link }) =>
  all({
    memory: () => link('(memory (export "m") 0 65536)').m.buffer,
    table: () => link('(table (export "t") 10000000 funcref)').t.length,
    // From V8 13 on the built-in refuses it as a module already (docs/conformance.md).
    ...(v8 < 13 && { tooLarge: () => link('(table 10000001 funcref)') }),
  })
)

check(
  'module_instantiate: an Instance inside a start function of another',
  (W, { link }) => {
    const order = []
    const wat = '(import "i" "f" (func $f)) (start $f)'
    link(wat, {
      i: {
        f() {
          order.push('outer')
          link(wat, { i: { f: () => order.push('inner') } })
          order.push('outer again')
        },
      },
    })
    return order
  },
  ['outer', 'inner', 'outer again']
)

check(
  'LinkError before any segment is written',
  (W, { all, link }) => {
    const memory = new W.Memory({ initial: 1 })
    const outcome = all({
      run: () =>
        link('(import "i" "m" (memory 1)) (import "i" "g" (global i32)) (data (i32.const 0) "a")', {
          i: { m: memory, g: new W.Global({ value: 'i64' }) },
        }),
    })
    return [outcome, new Uint8Array(memory.buffer)[0]]
  },
  [{ run: LINK }, 0]
)
