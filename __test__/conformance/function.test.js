'use strict'
// Exported Functions: identity, shape, calls, traps. What values become on their way in and out is in ./coercion.test.js.
// https://webassembly.github.io/spec/js-api/#exported-function-exotic-objects

const { check, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')

// Shape

check('a new Exported Function [#a-new-exported-function]: a built-in function named by its index', (W, { link }) => {
  const { f, g } = link('(import "i" "x" (func)) (func) (func (export "f") (param i32 i64 f32)) (func $named (export "g"))', {
    i: { x() {} },
  })
  return [
    f,
    g,
    Object.getOwnPropertyDescriptors(f),
    Reflect.ownKeys(g),
    Object.getPrototypeOf(f) === Function.prototype,
    Object.isExtensible(f),
    Object.prototype.toString.call(f),
  ]
})

check(
  'a new Exported Function: no [[Construct]]',
  (W, { all, link }) => {
    const { f } = link('(func (export "f"))')
    return all({
      new: () => new f(),
      construct: () => Reflect.construct(Object, [], f),
      extends: () => class extends f {},
      prototype: () => 'prototype' in f,
    })
  },
  { new: TYPE, construct: TYPE, extends: TYPE, prototype: false },
  { messages: false }
)

check('a new Exported Function: ordinary properties', (W, { all, link }) => {
  const { f } = link('(func (export "f") (result i32) i32.const 5)')
  return all({
    add: () => [(f.x = 1), f.x],
    name: () => [Reflect.set(f, 'name', 'x'), Reflect.defineProperty(f, 'name', { value: 'x' }), f.name, delete f.name, f.name],
    length: () => [delete f.length, f.length],
    bind: () => [f.bind(null)(), Reflect.apply(f, null, []), f.call(7)],
    freeze: () => Object.isFrozen(Object.freeze(f)),
  })
})

check(
  'a new Exported Function: the cache, through exports, tables, globals, results and imports',
  (W, { link }) => {
    const seen = []
    const e = link(
      `(import "i" "see" (func $see (param funcref))) (table (export "t") 1 funcref) (elem (i32.const 0) $f) (global (export "g") funcref (ref.func $f))
    (func $f (export "f")) (export "again" (func $f)) (func (export "result") (result funcref) ref.func $f) (func (export "give") (call $see (ref.func $f)))`,
      { i: { see: (x) => seen.push(x) } }
    )
    e.give()
    const other = link('(import "i" "f" (func)) (export "f" (func 0)) (table (export "t") 1 funcref) (elem (i32.const 0) 0)', {
      i: { f: e.f },
    })
    return [e.again, e.t.get(0), e.g.value, e.result(), seen[0], other.f, other.t.get(0)].map((f) => f === e.f)
  },
  Array(7).fill(true)
)

check(
  'name of the WebAssembly function [#name-of-the-webassembly-function]: a host function’s is its index among the imports',
  (W, { link }) => {
    const e = link(
      '(import "i" "m" (memory 1)) (import "i" "a" (func)) (import "i" "b" (func (param i32))) (export "a" (func 0)) (export "b" (func 1)) (func (export "c"))',
      { i: { m: new W.Memory({ initial: 1 }), a() {}, b: function named(_x, _y) {} } }
    )
    return [e.a, e.b, e.c]
  }
)

check(
  'name and length: functions of 0 to 12 parameters',
  (W, { link }) => Array.from({ length: 13 }, (_, n) => link(`(func (export "f") ${'(param i32)'.repeat(n)})`).f.length),
  Array.from({ length: 13 }, (_, n) => n)
)

check('an imported JavaScript function that is exported: another function object, one for each import', (W, { link }) => {
  const js = () => 5
  const wat =
    '(import "i" "f" (func (result i32))) (import "i" "f" (func (result i32))) (export "a" (func 0)) (export "b" (func 1))'
  const [first, second] = [link(wat, { i: { f: js } }), link(wat, { i: { f: js } })]
  return [first.a === js, first.a === first.b, first.a === second.a, first.a(), first.a, first.b]
})

check(
  'an imported exported function is itself, whatever its name was',
  (W, { link }) => {
    const { f } = link('(func) (func) (func (export "f"))')
    const e = link('(import "i" "f" (func)) (export "f" (func 0))', { i: { f } })
    return [e.f === f, e.f.name]
  },
  [true, '2']
)

// Arguments

check(
  'call an Exported Function [#call-an-exported-function] 6: arguments are converted in order, before anything runs',
  (W, { all, link }) => {
    const log = []
    const { f } = link('(import "i" "log" (func $log)) (func (export "f") (param i32 i64 f32 f64 i32) (call $log))', {
      i: { log: () => log.push('run') },
    })
    const value = (name, result) => ({
      valueOf() {
        log.push(name)
        return result
      },
    })
    f(value('a', 1), value('b', 1n), value('c', 1), value('d', 1), value('e', 1), value('f', 1))
    const outcome = all({ throws: () => f(value('g', 1), value('h', 1), value('i', 1)) })
    return [log, outcome]
  },
  [['a', 'b', 'c', 'd', 'e', 'run', 'g', 'h'], { throws: TYPE }]
)

check(
  'call 6: missing arguments are undefined, others are not looked at',
  (W, { all, link }) => {
    const { f, g } = link(
      '(func (export "f") (param i32 f64) (result i32 f64) local.get 0 local.get 1) (func (export "g") (param i64))'
    )
    return all({
      none: () => f(),
      one: () => f(3),
      more: () =>
        f(1, 2, {
          valueOf() {
            throw new EvalError('looked')
          },
        }),
      i64: () => g(),
    })
  },
  { none: [0, NaN], one: [3, NaN], more: [1, 2], i64: TYPE }
)

for (const arity of [1, 2, 3, 4, 5, 6, 9]) {
  check(
    `call 6: the order of conversions with ${arity} i32, all of them re-entering`,
    (W, { link }) => {
      const sum = Array.from({ length: arity }, (_, k) => `local.get ${k} i32.const ${10 ** k} i32.mul i32.add`).join(' ')
      const { f } = link(`(func (export "f") ${'(param i32)'.repeat(arity)} (result i32) i32.const 0 ${sum})`)
      const log = []
      const value = (k) => ({
        valueOf() {
          log.push(k)
          f(...Array(arity).fill(9))
          return k + 1
        },
      })
      return [f(...Array.from({ length: arity }, (_, k) => value(k))), log]
    },
    [Number(Array.from({ length: arity }, (_, k) => arity - k).join('')), Array.from({ length: arity }, (_, k) => k)]
  )
}

check(
  'call 4: v128 is a TypeError each time, before any argument is converted',
  (W, { all, link }) => {
    const log = []
    const value = {
      valueOf() {
        log.push('converted')
        return 1
      },
    }
    const { p, r, both } = link(
      '(func (export "p") (param i32 v128)) (func (export "r") (param i32) (result v128) (v128.const i32x4 0 0 0 0)) (func (export "both") (param v128 i32) (result i32) local.get 1)'
    )
    return [
      all({ p: () => p(value), again: () => p(value), r: () => r(value), both: () => both(value, value), none: () => p() }),
      log,
      p.length,
    ]
  },
  [{ p: TYPE, again: TYPE, r: TYPE, both: TYPE, none: TYPE }, [], 2]
)

check(
  'run a host function 2: v128 is a TypeError, and the function is not called',
  (W, { all, link }) => {
    let called = 0
    const { p, r } = link(
      '(import "i" "p" (func $p (param v128))) (import "i" "r" (func $r (result v128))) (func (export "p") (call $p (v128.const i32x4 0 0 0 0))) (func (export "r") (drop (call $r)))',
      { i: { p: () => called++, r: () => called++ } }
    )
    return [all({ p: () => p(), r: () => r() }), called]
  },
  [{ p: TYPE, r: TYPE }, 0]
)

check(
  'v128 between WebAssembly functions of two instances is no matter',
  (W, { link }) => {
    const { f } = link('(func (export "f") (param v128) (result v128) local.get 0)')
    const { g } = link(
      '(import "i" "f" (func $f (param v128) (result v128))) (func (export "g") (result i32) (i32x4.extract_lane 2 (call $f (v128.const i32x4 1 2 3 4))))',
      { i: { f } }
    )
    return g()
  },
  3
)

// Results

check(
  'call 11-13: none, one, several results',
  (W, { link }) => {
    const { none, one, many } = link(
      '(func (export "none")) (func (export "one") (result i64) i64.const -5) (func (export "many") (result i32 i64 f32 f64 externref funcref) i32.const -1 i64.const -2 f32.const 0.5 f64.const -0 ref.null extern ref.null func)'
    )
    const [a, b] = [many(), many()]
    return [
      none(),
      one(),
      a,
      a === b,
      Array.isArray(a),
      Object.getPrototypeOf(a) === Array.prototype,
      Object.isFrozen(a),
      Reflect.ownKeys(a),
    ]
  },
  [undefined, -5n, [-1, -2n, 0.5, -0, null, null], false, true, true, false, ['0', '1', '2', '3', '4', '5', 'length']]
)

check(
  'CreateArrayFromList does not run setters of Array.prototype',
  (W, { link }) => {
    const { f } = link('(func (export "f") (result i32 i32) i32.const 1 i32.const 2)')
    let set = 0
    Object.defineProperty(Array.prototype, '0', {
      configurable: true,
      set() {
        set++
      },
    })
    try {
      const result = f()
      return [set, Object.hasOwn(result, '0')]
    } finally {
      delete Array.prototype[0]
    }
  },
  [0, true]
)

check(
  'missing arguments are not looked for in Array.prototype',
  (W, { link }) => {
    const e = link(
      `(import "i" "f" (func $f (result i32 i32))) (func (export "m") (result i32 i32) call $f)
    (func (export "i") (param i32) (result i32) local.get 0) (func (export "d") (param f64 i32 i32 i32 i32) (result f64) local.get 0)
    (func (export "r") (param externref i32) (result externref) local.get 0)`,
      { i: { f: () => [1, 2] } }
    )
    const set = []
    Object.defineProperty(Array.prototype, '0', {
      configurable: true,
      get: () => 7,
      set: (value) => {
        set.push(value)
      },
    })
    try {
      return [e.i(), e.d(), e.r(), e.m(), set.length]
    } finally {
      delete Array.prototype[0]
    }
  },
  [0, NaN, undefined, [1, 2], 0]
)

check(
  'multi-value, 20 of every type in either direction',
  (W, { link }) => {
    const types = Array.from({ length: 20 }, (_, k) => ['i32', 'i64', 'f32', 'f64', 'externref'][k % 5])
    const { f } = link(
      `(import "i" "f" (func $f (param ${types.join(' ')}) (result ${types.join(' ')}))) (func (export "f") (param ${types.join(' ')}) (result ${types.join(' ')}) ${types.map((_, k) => `local.get ${k}`).join(' ')} call $f)`,
      { i: { f: (...values) => values } }
    )
    return f(...types.map((type, k) => (type === 'i64' ? BigInt(k) : type === 'externref' ? `x${k}` : k + 0.5)))
  },
  Array.from({ length: 20 }, (_, k) => [k, BigInt(k), k + 0.5, k + 0.5, `x${k}`][k % 5])
)

check(
  '1000 parameters and 1000 results',
  (W, { link }) => {
    const types = Array(1000).fill('i32').join(' ')
    const { f } = link(
      `(func (export "f") (param ${types}) (result ${types}) ${Array.from({ length: 1000 }, (_, k) => `local.get ${999 - k}`).join(' ')})`
    )
    const result = f(...Array.from({ length: 1000 }, (_, k) => k))
    return [f.length, result.length, result[0], result[999]]
  },
  [1000, 1000, 999, 0]
)

// Traps

const TRAPS = `(memory 1) (table $t 2 funcref) (table $e 1 externref) (elem (i32.const 0) $g) (type $v (func)) (type $i (func (result i32))) (func $g) (elem $s func $g) (data $d "abc")
  (func (export "unreachable") unreachable)
  (func (export "load") (drop (i32.load (i32.const -1)))) (func (export "store") (i64.store (i32.const 65530) (i64.const 0)))
  (func (export "divide") (drop (i32.div_u (i32.const 1) (i32.const 0)))) (func (export "remainder") (drop (i64.rem_s (i64.const 1) (i64.const 0)))) (func (export "overflow") (drop (i32.div_s (i32.const -2147483648) (i32.const -1))))
  (func (export "truncate") (drop (i32.trunc_f64_s (f64.const 1e10)))) (func (export "nan") (drop (i64.trunc_f32_u (f32.const nan))))
  (func (export "null") (call_indirect (type $v) (i32.const 1))) (func (export "signature") (drop (call_indirect (type $i) (i32.const 0)))) (func (export "index") (call_indirect (type $v) (i32.const 2)))
  (func (export "tableGet") (drop (table.get $t (i32.const 9)))) (func (export "tableSet") (table.set $e (i32.const 9) (ref.null extern))) (func (export "tableFill") (table.fill $e (i32.const 1) (ref.null extern) (i32.const 1)))
  (func (export "tableInit") (table.init $t $s (i32.const 0) (i32.const 0) (i32.const 2))) (func (export "tableCopy") (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 2)))
  (func (export "memoryInit") (memory.init $d (i32.const 0) (i32.const 2) (i32.const 2))) (func (export "memoryCopy") (memory.copy (i32.const 65535) (i32.const 0) (i32.const 2))) (func (export "memoryFill") (memory.fill (i32.const 65535) (i32.const 0) (i32.const 2)))`

check('error condition mappings [#errors]: every trap is a RuntimeError', (W, { all, link }) =>
  all(Object.fromEntries(Object.entries(link(TRAPS)).map(([name, f]) => [name, f])))
)

check(
  'error condition mappings: atomics, waiting on memory that is not shared among them',
  (W, { all, link }) => {
    const wait = (bits, expected, limits) =>
      `(memory ${limits}) (func (export "f") (result i32) (memory.atomic.wait${bits} (i32.const 0) (i${bits}.const ${expected}) (i64.const 0)))`
    const imported = (bits, limits, type) =>
      link(`(import "m" "m" ${wait(bits, 1, limits).replace(')', '))')}`, { m: { m: new W.Memory(type) } }).f()
    return all({
      equal: () => link(wait(32, 0, '1')).f(),
      unequal: () => link(wait(32, 1, '1')).f(),
      long: () => link(wait(64, 1, '1')).f(),
      sharedEqual: () => link(wait(32, 0, '1 1 shared')).f(),
      sharedUnequal: () => link(wait(64, 1, '1 1 shared')).f(),
      imported: () => imported(32, '1 1', { initial: 1, maximum: 1 }),
      importedLong: () => imported(64, '1 1', { initial: 1, maximum: 1 }),
      importedShared: () => imported(32, '1 1 shared', { initial: 1, maximum: 1, shared: true }),
      importedSharedLong: () => imported(64, '1 1 shared', { initial: 1, maximum: 1, shared: true }),
      notify: () => link('(memory 1) (func (export "f") (result i32) (memory.atomic.notify (i32.const 0) (i32.const 1)))').f(),
      notifyBeyond: () =>
        link('(memory 1) (func (export "f") (result i32) (memory.atomic.notify (i32.const 65536) (i32.const 1)))').f(),
      unaligned: () => link('(memory 1) (func (export "f") (result i32) (i32.atomic.load (i32.const 1)))').f(),
      unalignedWait: () =>
        link(
          '(memory 1 1 shared) (func (export "f") (result i32) (memory.atomic.wait32 (i32.const 2) (i32.const 0) (i64.const 0)))'
        ).f(),
      beyond: () =>
        link('(memory 1 1 shared) (func (export "f") (result i32) (i32.atomic.rmw.add (i32.const 65536) (i32.const 0)))').f(),
    })
  },
  {
    equal: throws('RuntimeError'),
    unequal: throws('RuntimeError'),
    long: throws('RuntimeError'),
    sharedEqual: 2,
    sharedUnequal: 1,
    imported: throws('RuntimeError'),
    importedLong: throws('RuntimeError'),
    importedShared: 1,
    importedSharedLong: 1,
    notify: 0,
    notifyBeyond: throws('RuntimeError'),
    unaligned: throws('RuntimeError'),
    unalignedWait: throws('RuntimeError'),
    beyond: throws('RuntimeError'),
  }
)

check('a trap’s RuntimeError: a new object each time, no cause', (W, { link }) => {
  const { unreachable } = link(TRAPS)
  const caught = [0, 1].map(() => {
    try {
      return unreachable()
    } catch (error) {
      return error
    }
  })
  return [
    caught[0] === caught[1],
    'cause' in caught[0],
    caught[0].name,
    Object.getOwnPropertyNames(caught[0]).sort(),
    Object.getOwnPropertyDescriptor(caught[0], 'message'),
  ]
})

check('traps do not prevent future execution', (W, { all, link }) => {
  const e = link(`${TRAPS} (func (export "fine") (result i32) i32.const 5)`)
  return [all({ trap: () => e.unreachable() }), e.fine(), all({ trap: () => e.load() }), e.fine()]
})

check(
  'stack overflow [#stack-overflow]: the class that JavaScript has',
  (W, { all, link }) =>
    all({
      wasm: () => link('(func $f (export "f") (call $f))').f(),
      js: () => {
        const e = link('(import "i" "f" (func $f)) (func (export "g") (call $f))', { i: { f: () => e.g() } })
        e.g()
      },
    }),
  { wasm: throws('RangeError'), js: throws('RangeError') }
)
