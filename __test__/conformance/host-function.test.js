'use strict'
// Host functions: how WebAssembly calls JavaScript, and the iterator protocol of several results.
// https://webassembly.github.io/spec/js-api/#run-a-host-function

const vm = require('node:vm')

const { check, throws, v8 } = require('../support/conformance.js')

const TYPE = throws('TypeError')

/** Calls an import `f` of this type, and returns what it gives. */
const through = (link, f, results, params = '') =>
  link(
    `(import "i" "f" (func $f ${params ? `(param ${params})` : ''} (result ${results}))) (func (export "g") ${params ? `(param ${params})` : ''} (result ${results}) ${params
      .split(' ')
      .filter(Boolean)
      .map((_, k) => `local.get ${k}`)
      .join(' ')} call $f)`,
    { i: { f } }
  ).g

check(
  'run a host function 5 [#run-a-host-function]: the receiver is undefined',
  (W, { link }) => {
    const seen = []
    for (const params of ['', 'i32', 'i32 i32', 'i32 i32 i32', 'i32 i32 i32 i32', 'f64', 'externref']) {
      link(
        `(import "i" "f" (func $f (param ${params}))) (func $s ${params
          .split(' ')
          .filter(Boolean)
          .map((type) => (type === 'externref' ? 'ref.null extern' : `${type}.const 1`))
          .join(' ')} call $f) (start $s)`,
        {
          i: {
            f() {
              seen.push(this, arguments.length)
            },
          },
        }
      )
    }
    return seen
  },
  [undefined, 0, undefined, 1, undefined, 2, undefined, 3, undefined, 4, undefined, 1, undefined, 1]
)

check(
  'run a host function 5: a sloppy function has the global object of its own realm',
  (W, { link }) => {
    const context = vm.createContext()
    const f = vm.runInContext('(function () { seen = this === globalThis })', context)
    link('(import "i" "f" (func $f)) (start $f)', { i: { f } })
    return context.seen
  },
  true,
  { deviates: v8 < 12 }
)

check('run a host function: every sort of callable', (W, { all, link }) => {
  class Class {}
  const call = (f) => through(link, f, 'i32')()
  return all({
    arrow: () => call(() => 1),
    bound: () =>
      call(
        function () {
          return this.x
        }.bind({ x: 2 })
      ),
    proxy: () => call(new Proxy(() => 1, { apply: (target, receiver, list) => (receiver === undefined ? list.length + 3 : -1) })),
    revoked: () => {
      const { proxy, revoke } = Proxy.revocable(() => 1, {})
      const f = through(link, proxy, 'i32')
      revoke()
      return f()
    },
    class: () => call(Class),
    async: () => call(async () => 4),
    generator: () => call(function* () {}),
    builtin: () => call(Math.max),
    constructor: () => call(Number),
    array: () => call(Array),
    method: () =>
      call(
        {
          f() {
            return 5
          },
        }.f
      ),
    otherRealm: () => call(vm.runInNewContext('() => 6')),
  })
})

check(
  'run a host function 5: `call` and `apply` of the function are not looked up',
  (W, { link }) => {
    const f = () => 1
    f.call = f.apply = () => 2
    Object.setPrototypeOf(f, null)
    return through(link, f, 'i32')()
  },
  1
)

check(
  'run a host function: arguments',
  (W, { link }) => {
    const seen = []
    const object = {}
    const e = link(
      `(import "i" "f" (func $f (param i32 i64 f32 f64 externref funcref))) (func $own (export "own")) (elem declare func $own)
    (func (export "g") (param externref) (call $f (i32.const -1) (i64.const -2) (f32.const 0.5) (f64.const -0) (local.get 0) (ref.func $own)))`,
      { i: { f: (...list) => seen.push(...list) } }
    )
    e.g(object)
    e.g(null)
    return [seen.slice(0, 4), seen[4] === object, seen[5] === e.own, seen[10]]
  },
  [[-1, -2n, 0.5, -0], true, true, null]
)

check(
  'run a host function 7: with no results the value is dropped unseen',
  (W, { link }) => {
    const log = []
    const result = new Proxy({}, { get: (_, key) => log.push(key) })
    link('(import "i" "f" (func $f)) (start $f)', { i: { f: () => result } })
    link('(import "i" "f" (func $f)) (start $f)', { i: { f: () => Symbol('s') } })
    return log
  },
  []
)

check('run a host function 8: one result of reference type', (W, { each, link }) => {
  const { own } = link('(func (export "own"))')
  const values = [undefined, null, 0, 'x', {}, () => {}, Symbol.iterator]
  return [
    each(values, (value) => through(link, () => value, 'externref')()),
    each(values, (value) => through(link, () => value, 'funcref')()),
    through(link, () => own, 'funcref')() === own,
  ]
})

// Several results

check(
  'run a host function 9: anything that has an iterator',
  (W, { each, link }) =>
    each(
      [
        [1, 2],
        new Set([1, 2]),
        new Map([
          [1, 0],
          [2, 0],
        ]).keys(),
        '12',
        new Uint8Array([1, 2]),
        (function* () {
          yield 1
          yield 2
        })(),
        Object('12'),
        vm.runInNewContext('[1, 2]'),
        { [Symbol.iterator]: () => [1, 2][Symbol.iterator]() },
        {
          *[Symbol.iterator]() {
            yield '1'
            yield { valueOf: () => 2 }
          },
        },
        (function () {
          return arguments
        })(1, 2),
        new Proxy([1, 2], {}),
      ],
      (result) => through(link, () => result, 'i32 i32')()
    ),
  Array(12).fill([1, 2])
)

check(
  'run a host function 9.2: what has none',
  (W, { each, link }) =>
    each(
      [
        undefined,
        null,
        true,
        1,
        1n,
        Symbol('s'),
        {},
        () => {},
        { [Symbol.iterator]: undefined },
        { [Symbol.iterator]: null },
        { [Symbol.iterator]: 1 },
        { [Symbol.iterator]: {} },
        new WeakMap(),
        { length: 2, 0: 1, 1: 2 },
        Promise.resolve([1, 2]),
      ],
      (result) => through(link, () => result, 'i32 i32')()
    ),
  Array(15).fill(TYPE),
  { messages: false }
)

check(
  'run a host function 9.5: wrong counts',
  (W, { each, link }) =>
    each([[], [1], [1, 2, 3], '1', new Set([1, 1]), (function* () {})()], (result) => through(link, () => result, 'i32 i32')()),
  Array(6).fill(TYPE)
)

check(
  'run a host function 9.3: the iterator runs to its end before anything is converted',
  (W, { link }) => {
    const log = []
    const value = (name) => ({
      valueOf() {
        log.push(`convert ${name}`)
        return 1
      },
    })
    const f = () => ({
      get [Symbol.iterator]() {
        log.push('get @@iterator')
        return function () {
          log.push(`call @@iterator ${arguments.length}`)
          let count = 0
          return {
            get next() {
              log.push('get next')
              return function () {
                log.push(`next ${arguments.length}`)
                count++
                return {
                  get done() {
                    log.push('done')
                    return count > 2
                  },
                  get value() {
                    log.push('value')
                    return value(count)
                  },
                }
              }
            },
            get return() {
              log.push('get return')
              return () => ({})
            },
          }
        }
      },
    })
    through(link, f, 'i32 i32')()
    return log
  },
  [
    'get @@iterator',
    'call @@iterator 0',
    'get next',
    'next 0',
    'done',
    'value',
    'next 0',
    'done',
    'value',
    'next 0',
    'done',
    'convert 1',
    'convert 2',
  ]
)

check(
  'run a host function 9: too many are counted to the end, and the iterator is not closed',
  (W, { all, link }) => {
    const log = []
    const f = function* () {
      try {
        for (let i = 0; i < 5; i++) {
          log.push(i)
          yield i
        }
        log.push('end')
      } finally {
        log.push('finally')
      }
    }
    return [all({ run: () => through(link, () => f(), 'i32 i32')() }), log]
  },
  [{ run: TYPE }, [0, 1, 2, 3, 4, 'end', 'finally']]
)

check(
  'run a host function 9.6: a conversion that throws',
  (W, { all, link }) => {
    const log = []
    const bad = {
      valueOf() {
        log.push('bad')
        throw new EvalError('mine')
      },
    }
    const after = {
      valueOf() {
        log.push('after')
        return 1
      },
    }
    return [
      all({
        run: () => through(link, () => [bad, after], 'i32 i32')(),
        big: () => through(link, () => [1, 2], 'i32 i64')(),
        func: () => through(link, () => [1, () => {}], 'i32 funcref')(),
      }),
      log,
    ]
  },
  [{ run: throws('EvalError'), big: TYPE, func: TYPE }, ['bad']]
)

const failing = (where) => ({
  get [Symbol.iterator]() {
    if (where === '@@iterator') throw new EvalError(where)
    return () => {
      if (where === 'call') throw new EvalError(where)
      return {
        get next() {
          if (where === 'next') throw new EvalError(where)
          return () => {
            if (where === 'step') throw new EvalError(where)
            if (where === 'no object') return 1
            return {
              get done() {
                if (where === 'done') throw new EvalError(where)
                return false
              },
              get value() {
                if (where === 'value') throw new EvalError(where)
                return where === 'endless' ? 1 : 0
              },
            }
          }
        },
        return() {
          throw new RangeError('closed')
        },
      }
    }
  },
})

check(
  'IteratorToList: what each step throws',
  (W, { all, link }) =>
    all(
      Object.fromEntries(
        ['@@iterator', 'call', 'next', 'step', 'no object', 'done', 'value'].map((where) => [
          where,
          () => through(link, () => failing(where), 'i32 i32')(),
        ])
      )
    ),
  {
    '@@iterator': throws('EvalError'),
    call: throws('EvalError'),
    next: throws('EvalError'),
    step: throws('EvalError'),
    'no object': TYPE,
    done: throws('EvalError'),
    value: throws('EvalError'),
  }
)

check(
  'IteratorToList: an iterator that is no object',
  (W, { each, link }) =>
    each([undefined, null, 1, 'x', {}, { next: 1 }], (iterator) =>
      through(link, () => ({ [Symbol.iterator]: () => iterator }), 'i32 i32')()
    ),
  Array(6).fill(TYPE),
  { messages: false }
)

check(
  'IteratorToList: Array.prototype[@@iterator] may be replaced',
  (W, { link }) => {
    const original = Array.prototype[Symbol.iterator]
    const g = through(link, () => result, 'i32 i32')
    const result = [1, 2]
    Array.prototype[Symbol.iterator] = function () {
      return Reflect.apply(original, this === result ? [7, 8] : this, [])
    }
    let given
    try {
      given = g()
    } finally {
      Array.prototype[Symbol.iterator] = original
    }
    return given
  },
  [7, 8]
)

check('IteratorToList: holes are undefined', (W, { link }) => through(link, () => Array(2), 'i32 externref')(), [0, undefined])

check(
  'a host function whose iterator calls WebAssembly again',
  (W, { link }) => {
    const e = link(
      '(import "i" "f" (func $f (result i32 i32))) (func (export "g") (result i32 i32) call $f) (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add)',
      {
        i: {
          f: () => ({
            *[Symbol.iterator]() {
              yield e.add(1, 2)
              yield { valueOf: () => e.add(3, 4) }
            },
          }),
        },
      }
    )
    return e.g()
  },
  [3, 7]
)

check(
  'host functions that throw: the same value arrives, frames of WebAssembly between',
  (W, { link }) => {
    const thrown = [
      new Error('x'),
      Object.freeze(new TypeError('frozen')),
      'text',
      0,
      undefined,
      null,
      Symbol.iterator,
      { then() {} },
      new Proxy({}, {}),
    ]
    let next
    const { g } = link('(import "i" "f" (func $f)) (func $a (call $f)) (func (export "g") (call $a))', {
      i: {
        f() {
          throw next
        },
      },
    })
    return thrown.map((value) => {
      next = value
      try {
        return g()
      } catch (error) {
        return error === value
      }
    })
  },
  Array(9).fill(true)
)

check(
  'host functions that are called from JavaScript through an export',
  (W, { each, link }) => {
    const { f } = link('(import "i" "f" (func (param i32) (result i32))) (export "f" (func 0))', {
      i: { f: (x) => (x > 5 ? 'no number' : x * 1.5) },
    })
    return each([1, 3, '4', 6, undefined, 2 ** 31], (x) => f(x))
  },
  [1, 4, 6, 0, 0, 0].map((value, index) => (index === 5 ? (-(2 ** 31) * 1.5) | 0 : value))
)

check(
  'host functions: results that re-enter while they are converted',
  (W, { link }) => {
    const e = link(
      '(import "i" "f" (func $f (param i32) (result i32))) (func (export "g") (param i32) (result i32) local.get 0 call $f)',
      {
        i: { f: (n) => (n === 0 ? 1 : { valueOf: () => e.g(n - 1) * 2 }) },
      }
    )
    return e.g(10)
  },
  1024
)
