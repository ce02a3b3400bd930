'use strict'
// WebAssembly.Global.
// https://webassembly.github.io/spec/js-api/#globals

const { check, throws, v8 } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const TYPES = ['i32', 'i64', 'f32', 'f64', 'externref', 'anyfunc']

check('Global(descriptor, v) [#dom-global-global]: wants new', (W, { all }) => all({ call: () => W.Global({ value: 'i32' }) }), {
  call: TYPE,
})

check('Global: descriptor is a dictionary', (W, { each }) =>
  each(
    [undefined, null, true, 1, 'i32', Symbol('s'), {}, [], () => {}, { mutable: true }, { value: undefined }],
    (descriptor) => new W.Global(descriptor)
  )
)

check('Global: members in order, each converted when it is read', (W) => {
  const log = []
  const members = {
    mutable: true,
    value: {
      toString() {
        log.push('string value')
        return 'i32'
      },
    },
  }
  new W.Global(
    new Proxy(
      {},
      {
        get(_, key) {
          log.push(`get ${String(key)}`)
          return members[key]
        },
        has(_, key) {
          log.push(`has ${String(key)}`)
          return key in members
        },
      }
    ),
    {
      valueOf() {
        log.push('number v')
        return 1
      },
    }
  )
  return log
})

check(
  'ToValueType [#tovaluetype]: the enumeration’s strings, nothing else',
  (W, { each }) =>
    each(
      [...TYPES, 'v128', 'funcref', 'I32', 'i32 ', '', 'x', null, 1, {}, ['i32'], Symbol('s'), Object('i64')],
      (value) => typeof new W.Global({ value })
      // V8 11 has other words for v128.
    ),
  [...Array(6).fill('object'), ...Array(9).fill(TYPE), 'object', TYPE, 'object'],
  { messages: v8 >= 12 }
)

// From V8 12 on such a Global can be made, and not read.
check(
  'Global 3: exnref',
  (W, { all }) => all({ exnref: () => new W.Global({ value: 'exnref' }) }),
  v8 < 12 ? { exnref: TYPE } : undefined
)

check('Global: mutable is a boolean', (W, { each }) =>
  each([undefined, null, false, 0, '', NaN, true, 1, 'false', {}, [], Symbol('s')], (mutable) => {
    const global = new W.Global({ value: 'i32', mutable })
    global.value = 5
    return global.value
  })
)

for (const value of TYPES) {
  check(`Global 5: ToWebAssemblyValue of ${value}`, (W, { each }) =>
    each(
      [
        undefined,
        null,
        true,
        0,
        -0,
        1.9,
        -1.9,
        NaN,
        Infinity,
        2 ** 31,
        2 ** 32 + 1,
        0.1,
        2 ** 63,
        1n,
        -1n,
        2n ** 63n,
        2n ** 64n + 1n,
        '7',
        'x',
        '',
        [],
        [7],
        {},
        { valueOf: () => 3 },
        { valueOf: () => 3n },
        Symbol('s'),
        () => {},
      ],
      (v) => new W.Global({ value }, v).value
    )
  )

  check(
    `Global 4: DefaultValue of ${value} where v is missing`,
    (W) => new W.Global({ value }).value,
    { i32: 0, i64: 0n, f32: 0, f64: 0, externref: undefined, anyfunc: null }[value],
    { deviates: v8 < 12 && value === 'externref' }
  )

  check(`value setter [#dom-global-value]: ToWebAssemblyValue of ${value}`, (W, { each }) => {
    const global = new W.Global({ value, mutable: true })
    return each(
      [undefined, null, true, 1.9, -0, 2 ** 31, NaN, 1n, 2n ** 63n, '7', {}, { valueOf: () => 3 }, Symbol('s'), () => {}],
      (v) => {
        global.value = v
        return global.value
      }
    )
  })

  check(`value and valueOf() of a module’s own global, ${value}`, (W, { each, link }) => {
    const type = value === 'anyfunc' ? 'funcref' : value
    const init = { externref: 'ref.null extern', anyfunc: 'ref.null func' }[value] ?? `${value}.const 3`
    const { g, c, set, get } = link(
      `(global $g (export "g") (mut ${type}) (${init})) (global (export "c") ${type} (${init})) (func (export "set") (param ${type}) local.get 0 global.set $g) (func (export "get") (result ${type}) global.get $g)`
    )
    const v = { i64: 9n, anyfunc: get }[value] ?? 9
    const before = [g.value, g.valueOf(), c.value, get()]
    set(v)
    const inside = [g.value === v, g.valueOf() === v]
    g.value = value === 'anyfunc' ? null : value === 'i64' ? 4n : 4
    return [
      before,
      inside,
      get(),
      each([v], (x) => {
        c.value = x
      }),
    ]
  })
}

check(
  'Global 5: an exported function',
  (W, { link }) => {
    const { f } = link('(func (export "f"))')
    const global = new W.Global({ value: 'anyfunc', mutable: true }, f)
    const first = global.value === f
    global.value = null
    return [first, global.value]
  },
  [true, null]
)

check(
  'Global 3: v128 is a TypeError, with and without a value',
  (W, { all }) =>
    all({
      none: () => new W.Global({ value: 'v128' }),
      value: () => new W.Global({ value: 'v128' }, 1),
      mutable: () => new W.Global({ value: 'v128', mutable: true }, undefined),
    }),
  { none: TYPE, value: TYPE, mutable: TYPE },
  { messages: v8 >= 12 }
)

check(
  'GetGlobalValue [#getglobalvalue] 4: v128 is a TypeError',
  (W, { all, link }) => {
    const { g, m } = link(
      '(global (export "g") v128 (v128.const i32x4 1 2 3 4)) (global (export "m") (mut v128) (v128.const i32x4 1 2 3 4))'
    )
    return all({
      get: () => g.value,
      valueOf: () => g.valueOf(),
      set: () => (g.value = 1),
      mutable: () => m.value,
      mutableSet: () => (m.value = 1),
    })
  },
  { get: TYPE, valueOf: TYPE, set: TYPE, mutable: TYPE, mutableSet: TYPE }
)

check(
  'Global: an object with new.target’s prototype and no properties',
  (W) => {
    class Mine extends W.Global {}
    const global = new W.Global({ value: 'i32' }, 5)
    const other = Reflect.construct(W.Global, [{ value: 'i32' }, 5], Object)
    return [
      Object.getPrototypeOf(new Mine({ value: 'i32' })) === Mine.prototype,
      Object.getPrototypeOf(other) === Object.prototype,
      Reflect.apply(W.Global.prototype.valueOf, other, []),
      Reflect.ownKeys(global),
      Object.isExtensible(global),
      String(global),
    ]
  },
  [true, true, 5, [], true, '[object WebAssembly.Global]']
)

check(
  'Global: v is converted after the descriptor was checked',
  (W, { all }) => {
    const v = {
      valueOf() {
        throw new EvalError('mine')
      },
    }
    return all({
      type: () => new W.Global({ value: 'x' }, v),
      v128: () => new W.Global({ value: 'v128' }, v),
      i32: () => new W.Global({ value: 'i32' }, v),
    })
  },
  { type: TYPE, v128: TYPE, i32: throws('EvalError') },
  { messages: v8 >= 12 }
)

check(
  'value setter 5: an immutable one is a TypeError, before the value is converted',
  (W, { all, link }) => {
    const v = {
      valueOf() {
        throw new EvalError('mine')
      },
    }
    const { g } = link('(global (export "g") i32 (i32.const 1))')
    const global = new W.Global({ value: 'i32' }, 1)
    return [
      all({ made: () => (global.value = v), exported: () => (g.value = v), undefined: () => (g.value = undefined) }),
      global.value,
      g.value,
    ]
  },
  [{ made: TYPE, exported: TYPE, undefined: TYPE }, 1, 1]
)

check('value setter: called without an argument', (W, { all }) => {
  const { set } = Object.getOwnPropertyDescriptor(W.Global.prototype, 'value')
  return all({
    i32: () => Reflect.apply(set, new W.Global({ value: 'i32', mutable: true }), []),
    externref: () => Reflect.apply(set, new W.Global({ value: 'externref', mutable: true }), []),
    result: () => Reflect.apply(set, new W.Global({ value: 'i32', mutable: true }), [1]),
  })
})

check(
  'value setter: the value’s conversion re-enters',
  (W) => {
    const global = new W.Global({ value: 'i32', mutable: true }, 1)
    const seen = []
    global.value = {
      valueOf() {
        seen.push(global.value)
        global.value = 5
        seen.push(global.value)
        return 7
      },
    }
    return [seen, global.value]
  },
  [[1, 5], 7]
)

check(
  'value setter: a failing conversion leaves the value',
  (W, { all }) => {
    const global = new W.Global({ value: 'i64', mutable: true }, 1n)
    return [all({ number: () => (global.value = 5), symbol: () => (global.value = Symbol('s')) }), global.value]
  },
  [{ number: TYPE, symbol: TYPE }, 1n]
)

check('valueOf() [#dom-global-valueof]: in expressions', (W) => [
  new W.Global({ value: 'i32' }, 5) + 1,
  new W.Global({ value: 'i64' }, 5n) + 1n,
  `${new W.Global({ value: 'f64' }, 0.5)}`,
  new W.Global({ value: 'i32' }, 5) > 4,
])

check(
  'f32: NaN, infinities and rounding',
  (W, { each }) =>
    each([NaN, Infinity, -Infinity, 1e40, -1e40, 1e-50, -1e-50, 16777217, 0.1], (v) => new W.Global({ value: 'f32' }, v).value),
  [NaN, Infinity, -Infinity, Infinity, -Infinity, 0, -0, 16777216, Math.fround(0.1)]
)

check(
  'a mutable Global between instances',
  (W, { link }) => {
    const g = new W.Global({ value: 'i32', mutable: true }, 1)
    const wat =
      '(import "i" "g" (global $g (mut i32))) (export "g" (global $g)) (func (export "add") (result i32) (global.set $g (i32.add (global.get $g) (i32.const 1))) global.get $g)'
    const [a, b] = [link(wat, { i: { g } }), link(wat, { i: { g } })]
    return [a.add(), b.add(), g.value, a.g === g, b.g === g]
  },
  [2, 3, 3, true, true]
)

check(
  'a mutable externref Global between instances',
  (W, { link }) => {
    const first = {}
    const g = new W.Global({ value: 'externref', mutable: true }, first)
    const wat =
      '(import "i" "g" (global $g (mut externref))) (func (export "get") (result externref) global.get $g) (func (export "set") (param externref) local.get 0 global.set $g)'
    const [a, b] = [link(wat, { i: { g } }), link(wat, { i: { g } })]
    const seen = [a.get() === first, b.get() === first]
    a.set('a')
    return [seen, b.get(), g.value, (g.value = 7), b.get()]
  },
  [[true, true], 'a', 'a', 7, 7]
)
