'use strict'
// WebAssembly.Exception, and exceptions that cross the border.
// https://webassembly.github.io/spec/js-api/#exceptions

const { check, throws, v8 } = require('../support/conformance.js')

const TYPE = throws('TypeError')

check(
  'Exception(exceptionTag, payload, options) [#dom-exception-exception]: wants new',
  (W, { all }) => all({ call: () => W.Exception(new W.Tag({ parameters: [] }), []) }),
  { call: TYPE }
)

check(
  'Exception: exceptionTag is a Tag',
  (W, { each }) =>
    each(
      [
        undefined,
        null,
        1,
        {},
        'x',
        W.Tag,
        W.Tag.prototype,
        Object.create(new W.Tag({ parameters: [] })),
        new Proxy(new W.Tag({ parameters: [] }), {}),
      ],
      (tag) => new W.Exception(tag, [])
    ),
  Array(9).fill(TYPE)
)

check('Exception: payload is a sequence', (W, { each }) =>
  each(
    [
      undefined,
      null,
      1,
      {},
      'x',
      '',
      [],
      new Set(),
      (function* () {})(),
      { length: 0 },
      { [Symbol.iterator]: () => [].values() },
      () => {},
    ],
    (payload) => new W.Exception(new W.Tag({ parameters: [] }), payload)
  )
)

check('Exception 5: payload has as many values as the tag', (W, { each }) =>
  each([[], [1], [1, 2], [1, 2, 3]], (payload) => new W.Exception(new W.Tag({ parameters: ['i32', 'i32'] }), payload))
)

const VALUES = [
  undefined,
  null,
  true,
  1.9,
  -0,
  2 ** 31,
  NaN,
  0.1,
  1n,
  2n ** 63n,
  '7',
  'x',
  {},
  { valueOf: () => 3 },
  Symbol.iterator,
  [5],
]

// From V8 12 on a payload of anyfunc is checked here; ours is where wasm meets it (docs/conformance.md).
for (const type of ['i32', 'i64', 'f32', 'f64', 'externref', ...(v8 < 12 ? ['anyfunc'] : [])]) {
  check(`Exception 7: ToWebAssemblyValue of ${type}, and getArg back`, (W, { each }) => {
    const tag = new W.Tag({ parameters: [type] })
    return each(VALUES, (value) => new W.Exception(tag, [value]).getArg(tag, 0))
  })
}

check(
  'Exception 7: exported functions',
  (W, { link }) => {
    const { f } = link('(func (export "f"))')
    const tag = new W.Tag({ parameters: ['anyfunc'] })
    return new W.Exception(tag, [f]).getArg(tag, 0) === f
  },
  true
)

check('Exception 7: v128 is a TypeError', (W, { all }) =>
  all({
    tag: () => new W.Tag({ parameters: ['v128'] }),
    exception: () => new W.Exception(new W.Tag({ parameters: ['v128'] }), [1]),
  })
)

check('Exception: the payload’s iterator and conversions, in order', (W, { all }) => {
  const log = []
  const tag = new W.Tag({ parameters: ['i32', 'i64'] })
  const value = (name, result) => ({
    valueOf() {
      log.push(`convert ${name}`)
      return result
    },
  })
  const payload = {
    *[Symbol.iterator]() {
      log.push('begin')
      yield value('a', 1)
      log.push('between')
      yield value('b', 2n)
      log.push('end')
    },
  }
  return [
    all({ iterable: () => new W.Exception(tag, payload), array: () => new W.Exception(tag, [value('c', 1), value('d', 1n)]) }),
    log,
  ]
})

check('Exception: what the payload throws', (W, { all }) => {
  const tag = new W.Tag({ parameters: ['i32'] })
  return all({
    conversion: () =>
      new W.Exception(tag, [
        {
          valueOf() {
            throw new EvalError('mine')
          },
        },
      ]),
    getter: () =>
      new W.Exception(
        tag,
        Object.defineProperty([0], 0, {
          get() {
            throw new EvalError('mine')
          },
        })
      ),
    iterator: () =>
      new W.Exception(tag, {
        get [Symbol.iterator]() {
          throw new EvalError('mine')
        },
      }),
  })
})

check('ExceptionOptions [#dictdef-exceptionoptions]: traceStack', (W, { each }) =>
  each(
    [
      undefined,
      null,
      {},
      1,
      'x',
      true,
      [],
      { traceStack: false },
      { traceStack: true },
      { traceStack: 1 },
      { traceStack: 'false' },
      {
        get traceStack() {
          throw new EvalError('mine')
        },
      },
    ],
    (options) => typeof new W.Exception(new W.Tag({ parameters: [] }), [], options).stack
  )
)

check('stack [#dom-exception-stack]: undefined, or a string of frames', (W) => {
  const tag = new W.Tag({ parameters: [] })
  const traced = new W.Exception(tag, [], { traceStack: true })
  const plain = new W.Exception(tag, [])
  const own = Reflect.ownKeys(traced).map(String)
  const first = typeof traced.stack === 'string' ? traced.stack.split('\n')[0] : traced.stack
  return [
    plain.stack,
    typeof traced.stack,
    first,
    own,
    Object.getOwnPropertyDescriptor(traced, 'stack')?.enumerable,
    Object.getOwnPropertyDescriptor(W.Exception.prototype, 'stack') === undefined,
  ]
})

check('stack of an exception that WebAssembly threw', (W, { link }) => {
  const { f } = link('(tag $t) (func (export "f") (throw $t))')
  try {
    return f()
  } catch (error) {
    return [error, error.stack, Reflect.ownKeys(error).map(String)]
  }
})

check('Exception: not an Error, an object with new.target’s prototype', (W) => {
  class Mine extends W.Exception {}
  const tag = new W.Tag({ parameters: [] })
  const exception = new W.Exception(tag, [])
  return [
    exception instanceof Error,
    Object.getPrototypeOf(new Mine(tag, [])) === Mine.prototype,
    String(exception),
    Object.isExtensible(exception),
    exception.message,
    exception.name,
    Object.getPrototypeOf(W.Exception.prototype) === Object.prototype,
    W.Exception.length,
  ]
})

check('getArg(index) [#dom-exception-getarg]: V8’s getArg(tag, index)', (W, { all }) => {
  const tag = new W.Tag({ parameters: ['i32', 'externref'] })
  const other = new W.Tag({ parameters: ['i32', 'externref'] })
  const exception = new W.Exception(tag, [5, 'x'])
  return all({
    first: () => exception.getArg(tag, 0),
    second: () => exception.getArg(tag, 1),
    string: () => exception.getArg(tag, '1'),
    fraction: () => exception.getArg(tag, 1.9),
    beyond: () => exception.getArg(tag, 2),
    negative: () => exception.getArg(tag, -1),
    large: () => exception.getArg(tag, 2 ** 32),
    nan: () => exception.getArg(tag, NaN),
    missing: () => exception.getArg(tag),
    none: () => exception.getArg(),
    other: () => exception.getArg(other, 0),
    noTag: () => exception.getArg({}, 0),
    index: () => exception.getArg(0),
    throwing: () =>
      exception.getArg(tag, {
        valueOf() {
          throw new EvalError('mine')
        },
      }),
    symbol: () => exception.getArg(tag, Symbol('s')),
    big: () => exception.getArg(tag, 1n),
  })
})

check(
  'is(exceptionTag) [#dom-exception-is]',
  (W, { all }) => {
    const tag = new W.Tag({ parameters: [] })
    const exception = new W.Exception(tag, [])
    return all({
      same: () => exception.is(tag),
      other: () => exception.is(new W.Tag({ parameters: [] })),
      object: () => exception.is({}),
      none: () => exception.is(),
      undefined: () => exception.is(undefined),
      proxy: () => exception.is(new Proxy(tag, {})),
    })
  },
  { same: true, other: false, object: TYPE, none: TYPE, undefined: TYPE, proxy: TYPE }
)

// Across the border

const THROWER = `(tag $t (export "t") (param i32 i64 f32 f64 externref funcref)) (func $own (export "own")) (elem declare func $own)
  (func (export "f") (param externref) (throw $t (i32.const -1) (i64.const -2) (f32.const 0.5) (f64.const -0) (local.get 0) (ref.func $own)))`

check('call an Exported Function 10: THROW becomes an Exception with the payload', (W, { link }) => {
  const e = link(THROWER)
  const object = {}
  try {
    return e.f(object)
  } catch (error) {
    return [
      error,
      error instanceof W.Exception,
      error.is(e.t),
      [0, 1, 2, 3].map((index) => error.getArg(e.t, index)),
      error.getArg(e.t, 4) === object,
    ]
  }
})

check(
  'getArg: a function of the module is its exported function',
  (W, { link }) => {
    const e = link(THROWER)
    try {
      return e.f(null)
    } catch (error) {
      return error.getArg(e.t, 5) === e.own
    }
  },
  true,
  { deviates: v8 < 12 }
)

check(
  'create an Exception object [#create-an-exception-object]: the same object wherever it goes',
  (W, { link }) => {
    const seen = []
    const e = link(
      `(import "i" "f" (func $f)) (tag $t (export "t")) (func (export "throw") (throw $t)) (func (export "g") (call $f))`,
      {
        i: {
          f() {
            try {
              e.throw()
            } catch (error) {
              seen.push(error)
              throw error
            }
          },
        },
      }
    )
    try {
      e.g()
    } catch (error) {
      seen.push(error)
    }
    return [seen.length, seen[0] === seen[1], seen[1].is(e.t)]
  },
  [2, true, true]
)

check(
  'run a host function: an Exception of JavaScript goes through WebAssembly as the same object',
  (W, { link }) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const exception = new W.Exception(tag, [5])
    exception.extra = 'kept'
    const { g } = link('(import "i" "t" (tag (param i32))) (import "i" "f" (func $f)) (func (export "g") (call $f))', {
      i: {
        t: tag,
        f() {
          throw exception
        },
      },
    })
    try {
      return g()
    } catch (error) {
      return [error === exception, error.extra, error.getArg(tag, 0)]
    }
  },
  [true, 'kept', 5]
)

const CATCHER = `(import "i" "t" (tag $t (param i32))) (import "i" "f" (func $f))
  (func (export "catch") (result i32) (block $caught (result i32) (try_table (catch $t $caught) (call $f)) (i32.const -1)))
  (func (export "all") (result i32) (block $caught (try_table (catch_all $caught) (call $f)) (return (i32.const -1))) (i32.const -2))
  (func (export "again") (block $caught (result exnref) (try_table (catch_all_ref $caught) (call $f)) (return)) (throw_ref))`

const exceptions = (W) => typeof W.JSTag === 'object' && !/^(11|12|13)\./.test(process.versions.v8)

check('create a host function, throw: handlers of the module meet an Exception, by its tag', (W, { all, link }) => {
  if (!exceptions(W)) return 'try_table is not in this V8'
  const tag = new W.Tag({ parameters: ['i32'] })
  const other = new W.Tag({ parameters: ['i32'] })
  const run = (thrown) => {
    const e = link(CATCHER, {
      i: {
        t: tag,
        f() {
          throw thrown
        },
      },
    })
    return all({ catch: () => e.catch(), all: () => e.all(), again: () => e.again() })
  }
  return [run(new W.Exception(tag, [7])), run(new W.Exception(other, [7]))]
})

check('create a host function, throw: handlers of the module meet any JavaScript value, by JSTag', (W, { all, link }) => {
  if (!exceptions(W)) return 'try_table is not in this V8'
  const tag = new W.Tag({ parameters: ['i32'] })
  const text = `(import "i" "js" (tag $js (param externref))) (import "i" "f" (func $f)) (func (export "value") (result externref) (block $caught (result externref) (try_table (catch $js $caught) (call $f)) (ref.null extern)))`
  return [new Error('x'), 'text', undefined, null, { a: 1 }].map((thrown) => {
    const f = () => {
      throw thrown
    }
    const e = link(CATCHER, { i: { t: tag, f } })
    return [
      all({ catch: () => e.catch(), all: () => e.all(), again: () => e.again() }),
      link(text, { i: { js: W.JSTag, f } }).value() === thrown,
    ]
  })
})

check('traps are not caught by handlers', (W, { all, link }) => {
  if (!exceptions(W)) return 'try_table is not in this V8'
  const e = link(CATCHER, { i: { t: new W.Tag({ parameters: ['i32'] }), f: link('(func (export "f") unreachable)').f } })
  const thrown = link(
    '(func (export "null") (block $caught (result exnref) (try_table (catch_all_ref $caught) (throw_ref (ref.null exn))) (return)) (drop))'
  )
  return all({ all: () => e.all(), again: () => e.again(), null: () => thrown.null() })
})
