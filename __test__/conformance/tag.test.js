'use strict'
// WebAssembly.Tag and WebAssembly.JSTag.
// https://webassembly.github.io/spec/js-api/#tags

const { check, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')

check('Tag(type) [#dom-tag-tag]: wants new', (W, { all }) => all({ call: () => W.Tag({ parameters: [] }) }), { call: TYPE })

check('Tag(type): a dictionary with a sequence', (W, { each }) =>
  each(
    [
      undefined,
      null,
      true,
      1,
      'x',
      Symbol('s'),
      {},
      [],
      () => {},
      { parameters: undefined },
      { parameters: null },
      { parameters: 1 },
      { parameters: 'i32' },
      { parameters: {} },
      { parameters: () => {} },
    ],
    (type) => new W.Tag(type)
  )
)

check('Tag(type): every type of value', (W, { each }) =>
  each(
    [
      'i32',
      'i64',
      'f32',
      'f64',
      'v128',
      'externref',
      'anyfunc',
      'exnref',
      'funcref',
      'anyref',
      'eqref',
      'x',
      '',
      null,
      undefined,
      1,
      Symbol('s'),
      { toString: () => 'i32' },
      {
        toString() {
          throw new EvalError('mine')
        },
      },
    ],
    (type) => new W.Tag({ parameters: [type] })
  )
)

check('Tag(type): sequence conversion', (W, { each }) =>
  each(
    [
      new Set(['i32']),
      (function* () {
        yield 'i32'
      })(),
      { length: 1, 0: 'i32' },
      { [Symbol.iterator]: () => ['i32'].values() },
      new Proxy(['i32'], {}),
      (a, b) => [a, b],
      [, 'i32'], // eslint-disable-line no-sparse-arrays
    ],
    (parameters) => new W.Tag({ parameters })
  )
)

check('Tag(type): what is asked of the descriptor', (W) => {
  const log = []
  const watched = (name, target) =>
    new Proxy(target, {
      get(object, key) {
        log.push(`get ${name}.${String(key)}`)
        return Reflect.get(object, key)
      },
      has(object, key) {
        log.push(`has ${name}.${String(key)}`)
        return Reflect.has(object, key)
      },
    })
  new W.Tag(watched('type', { parameters: watched('parameters', ['i32', 'i64']) }))
  return log
})

check('Tag(type): many parameters', (W, { each }) =>
  each([100, 1000, 1001, 100_000], (count) => new W.Tag({ parameters: Array(count).fill('i32') }))
)

// V8 forgets the prototype that new.target asks for.
check(
  'Tag(type): an object with new.target’s prototype and no properties',
  (W) => {
    class Mine extends W.Tag {}
    const tag = new W.Tag({ parameters: [] })
    const other = Reflect.construct(W.Tag, [{ parameters: [] }], Object)
    return [
      Object.getPrototypeOf(new Mine({ parameters: [] })) === Mine.prototype,
      Object.getPrototypeOf(other) === Object.prototype,
      Reflect.ownKeys(tag),
      Object.isExtensible(tag),
      String(tag),
    ]
  },
  [true, true, [], true, '[object WebAssembly.Tag]'],
  { deviates: true }
)

check('create a Tag object [#create-a-tag-object]: exported and imported tags', (W, { link }) => {
  const tag = new W.Tag({ parameters: ['i32'] })
  const a = link('(import "i" "t" (tag $t (param i32))) (tag $own (export "own") (param f64)) (export "t" (tag $t))', {
    i: { t: tag },
  })
  const b = link('(import "i" "t" (tag (param f64))) (export "t" (tag 0))', { i: { t: a.own } })
  return [a.t === tag, a.own, b.t === a.own, new W.Exception(a.own, [1]).is(b.t)]
})

check(
  'a tag of one type is another tag than the next of the same type',
  (W) => {
    const [a, b] = [new W.Tag({ parameters: ['i32'] }), new W.Tag({ parameters: ['i32'] })]
    const exception = new W.Exception(a, [1])
    return [exception.is(a), exception.is(b)]
  },
  [true, false]
)

check('JSTag [#dom-webassembly-jstag]: as an import, and its type', (W, { all, link }) => {
  if (!('JSTag' in W)) return 'absent'
  return all({
    fits: () => link('(import "i" "t" (tag (param externref))) (export "t" (tag 0))', { i: { t: W.JSTag } }).t === W.JSTag,
    misfits: () => link('(import "i" "t" (tag (param i32)))', { i: { t: W.JSTag } }),
    exception: () => new W.Exception(W.JSTag, [1]),
    is: () => new W.Exception(new W.Tag({ parameters: ['externref'] }), [1]).is(W.JSTag),
    write: () => {
      W.JSTag = 1
    },
  })
})

check('JSTag: throw of WebAssembly gives the JavaScript value', (W, { link }) => {
  if (!('JSTag' in W)) return 'absent'
  const { f } = link('(import "i" "t" (tag $t (param externref))) (func (export "f") (param externref) (throw $t (local.get 0)))', {
    i: { t: W.JSTag },
  })
  return [new Error('x'), 'text', undefined, null, 0].map((value) => {
    try {
      return f(value)
    } catch (error) {
      return error === value
    }
  })
})
