'use strict'
// WebAssembly.Module: the constructor, exports, imports and customSections.
// https://webassembly.github.io/spec/js-api/#modules

const { check, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const EMPTY = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
const bytes = (...more) => new Uint8Array([...EMPTY, ...more])
const custom = (name, ...content) => {
  const encoded = [...Buffer.from(name)]
  return [0, 1 + encoded.length + content.length, encoded.length, ...encoded, ...content]
}

// The constructor

check(
  'Module(bytes) [#dom-module-module]: wants new',
  (W, { all }) =>
    all({
      call: () => W.Module(bytes()),
      apply: () => Reflect.apply(W.Module, Object.create(W.Module.prototype), [bytes()]),
    }),
  { call: TYPE, apply: TYPE }
)

check(
  'Module(bytes): arguments',
  (W, { each }) =>
    each([undefined, null, 1, 'x', {}, [], Symbol('s'), () => {}, new Proxy(bytes(), {})], (value) => new W.Module(value)),
  Array(9).fill(TYPE)
)

check(
  'Module(bytes): the bytes are copied',
  (W) => {
    const source = bytes(...custom('x', 1, 2, 3))
    const module = new W.Module(source)
    source.fill(0xff)
    return W.Module.customSections(module, 'x').map((buffer) => new Uint8Array(buffer))
  },
  [new Uint8Array([1, 2, 3])]
)

check(
  'Module(bytes) 3: CompileError',
  (W, { each }) => each([new Uint8Array(), new Uint8Array([0, 0x61, 0x73])], (value) => new W.Module(value)),
  [throws('CompileError'), throws('CompileError')]
)

check(
  'Module(bytes): a module object has no own properties and is extensible',
  (W) => {
    const module = new W.Module(bytes())
    return [
      Reflect.ownKeys(module),
      Object.isExtensible(module),
      String(module),
      Object.getPrototypeOf(module) === W.Module.prototype,
    ]
  },
  [[], true, '[object WebAssembly.Module]', true]
)

check(
  'Module(bytes): the prototype comes from new.target',
  (W) => {
    class Mine extends W.Module {}
    const mine = new Mine(bytes())
    const other = Reflect.construct(W.Module, [bytes()], Object)
    return [
      Object.getPrototypeOf(mine) === Mine.prototype,
      W.Module.exports(mine),
      Object.getPrototypeOf(other) === Object.prototype,
      W.Module.exports(other),
    ]
  },
  [true, [], true, []]
)

check(
  'Module(bytes): new.target is asked for its prototype once',
  (W) => {
    let asked = 0
    const target = new Proxy(function () {}, {
      get(object, key) {
        if (key === 'prototype') asked++
        return Reflect.get(object, key)
      },
    })
    new (class extends W.Module {})(bytes())
    Reflect.construct(W.Module, [bytes()], target)
    return asked
  },
  1
)

check('Module(bytes): when new.target’s prototype throws, and the bytes are wrong', (W, { all }) => {
  const target = new Proxy(function () {}, {
    get() {
      throw new RangeError('prototype')
    },
  })
  return all({
    right: () => Reflect.construct(W.Module, [bytes()], target),
    wrong: () => Reflect.construct(W.Module, [1], target),
  })
})

check('Module: own and inherited statics on a subclass', (W) => {
  class Mine extends W.Module {}
  return [Mine.exports === W.Module.exports, Mine.customSections(new Mine(bytes(...custom('x'))), 'x')]
})

// exports and imports

const MANY = `
  (import "m" "f" (func)) (import "m" "t" (table 1 funcref)) (import "" "m" (memory 1)) (import "m" "" (global i32)) (import "m" "e" (tag))
  (import "m" "f" (func (param i32))) (import "\\u{2603}" "\\u{0}" (global (mut f64)))
  (func (export "f")) (export "t" (table 0)) (export "m" (memory 0)) (export "g" (global 0)) (export "e" (tag 0))
  (export "" (func 0)) (export "\\u{1f600}" (func 0)) (export "__proto__" (func 0)) (export "0" (func 0))`

check('exports(moduleObject) [#dom-module-exports]: names and kinds in order', (W, { module }) => W.Module.exports(module(MANY)), [
  { name: 'f', kind: 'function' },
  { name: 't', kind: 'table' },
  { name: 'm', kind: 'memory' },
  { name: 'g', kind: 'global' },
  { name: 'e', kind: 'tag' },
  { name: '', kind: 'function' },
  { name: '\u{1f600}', kind: 'function' },
  { name: '__proto__', kind: 'function' },
  { name: '0', kind: 'function' },
])

check(
  'imports(moduleObject) [#dom-module-imports]: modules, names and kinds in order, repetitions too',
  (W, { module }) => W.Module.imports(module(MANY)),
  [
    { module: 'm', name: 'f', kind: 'function' },
    { module: 'm', name: 't', kind: 'table' },
    { module: '', name: 'm', kind: 'memory' },
    { module: 'm', name: '', kind: 'global' },
    { module: 'm', name: 'e', kind: 'tag' },
    { module: 'm', name: 'f', kind: 'function' },
    { module: '\u2603', name: '\0', kind: 'global' },
  ]
)

for (const method of ['exports', 'imports']) {
  check(`${method}(moduleObject): a new Array of ordinary objects each time`, (W, { module }) => {
    const m = module(MANY)
    const [a, b] = [W.Module[method](m), W.Module[method](m)]
    const attributes = Object.values(Object.getOwnPropertyDescriptors(a[0])).map(({ writable, enumerable, configurable }) => [
      writable,
      enumerable,
      configurable,
    ])
    a[0].name = 'changed'
    a.length = 1
    return [
      a === b,
      a[0] === b[0],
      Array.isArray(a),
      Object.getPrototypeOf(a) === Array.prototype,
      Object.getPrototypeOf(a[0]) === Object.prototype,
      attributes,
      Reflect.ownKeys(b[0]),
      W.Module[method](m)[0],
      Object.isFrozen(b),
    ]
  })

  check(
    `${method}(moduleObject): the dictionaries do not run setters of Object.prototype`,
    (W, { module }) => {
      const m = module(MANY)
      const set = []
      for (const name of ['module', 'name', 'kind']) {
        Object.defineProperty(Object.prototype, name, {
          configurable: true,
          set() {
            set.push(name)
          },
        })
      }
      Object.defineProperty(Array.prototype, '0', {
        configurable: true,
        set() {
          set.push('0')
        },
      })
      try {
        const [first] = W.Module[method](m)
        return [set, Object.hasOwn(first, 'name'), Object.hasOwn(first, 'kind')]
      } finally {
        for (const name of ['module', 'name', 'kind']) delete Object.prototype[name]
        delete Array.prototype[0]
      }
    },
    [[], true, true]
  )
}

for (const method of ['exports', 'imports', 'customSections']) {
  check(
    `${method}(moduleObject): wants a Module`,
    (W, { each, module }) =>
      each(
        [
          undefined,
          null,
          1,
          'x',
          Symbol('s'),
          {},
          [],
          W.Module,
          W.Module.prototype,
          Object.create(module('')),
          new Proxy(module(''), {}),
          new W.Instance(module('')),
          bytes(),
        ],
        (value) => W.Module[method](value, 'x')
      ),
    Array(13).fill(TYPE)
  )

  check(`${method}(moduleObject): without arguments`, (W, { all }) => all({ none: () => W.Module[method]() }), { none: TYPE })
}

// customSections

const SECTIONS = bytes(
  ...custom('one', 1, 2),
  ...custom('two', 3),
  ...custom('', 9),
  ...custom('one'),
  ...custom('\u{1f600}', 4),
  ...custom('undefined', 5),
  ...custom('null', 6),
  ...custom('1', 7),
  ...custom('[object Object]', 8)
)
const read = (buffers) => buffers.map((buffer) => [...new Uint8Array(buffer)])

check(
  'customSections(moduleObject, sectionName) [#dom-module-customsections] 3: every section of that name, in order',
  (W, { each }) => {
    const module = new W.Module(SECTIONS)
    return each(['one', 'two', '', 'on', 'One', 'one\0', '\u{1f600}', 'name'], (name) =>
      read(W.Module.customSections(module, name))
    )
  },
  [[[1, 2], []], [[3]], [[9]], [], [], [], [[4]], []]
)

check(
  "customSections 3: a name with a lone surrogate is no section's, for those are UTF-8",
  (W, { each }) => {
    const module = new W.Module(bytes(...custom('\ufffd', 1), ...custom('x\ufffdy', 2), ...custom('\u{1f600}', 3)))
    const names = ['\ufffd', '\ud800', '\udc00', '\ud83d', 'x\ud800y', 'x\ufffdy', '\udc00\ud800', '\ude00\ud83d', '\ud83d\ude00']
    return each(names, (name) => read(W.Module.customSections(module, name)))
  },
  [[[1]], [], [], [], [], [[2]], [], [], [[3]]]
)

check(
  'customSections 2: sectionName is a DOMString',
  (W, { each }) => {
    const module = new W.Module(SECTIONS)
    const values = [
      null,
      1,
      {},
      ['one'],
      { toString: () => 'two' },
      { [Symbol.toPrimitive]: (hint) => (hint === 'string' ? 'one' : 'no') },
      Object('two'),
      Symbol('one'),
      { toString: () => Symbol('s') },
      {
        toString() {
          throw new RangeError('mine')
        },
      },
    ]
    return each(values, (name) => read(W.Module.customSections(module, name)))
  },
  [[[6]], [[7]], [[8]], [[1, 2], []], [[3]], [[1, 2], []], [[3]], TYPE, TYPE, throws('RangeError')]
)

// Web IDL converts undefined to "undefined"; V8 wants the argument.
check('customSections: sectionName undefined and missing', (W, { all }) => {
  const module = new W.Module(SECTIONS)
  return all({
    undefined: () => read(W.Module.customSections(module, undefined)),
    missing: () => read(W.Module.customSections(module)),
  })
})

check(
  'customSections: the Module is looked at before sectionName is converted',
  (W, { all }) => {
    const name = {
      toString() {
        throw new RangeError('converted')
      },
    }
    return all({ wrong: () => W.Module.customSections({}, name) })
  },
  { wrong: TYPE }
)

check('customSections: lone surrogates match nothing', (W) => W.Module.customSections(new W.Module(SECTIONS), '\ud83d'), [])

check('customSections 3.3.1: new ArrayBuffers with copies, in a new Array', (W) => {
  const module = new W.Module(SECTIONS)
  const [a, b] = [W.Module.customSections(module, 'one'), W.Module.customSections(module, 'one')]
  new Uint8Array(a[0]).fill(0)
  structuredClone(a[0], { transfer: [a[0]] })
  return [
    a === b,
    a[0] === b[0],
    a,
    b,
    read(W.Module.customSections(module, 'one')),
    Object.isExtensible(b[0]),
    Object.getPrototypeOf(b[0]) === ArrayBuffer.prototype,
  ]
})

check('customSections: a name section and one between other sections', (W, { module }) => [
  W.Module.customSections(module('(func $x) (memory 1) (data (i32.const 0) "x")'), 'name'),
  W.Module.customSections(new W.Module(bytes(1, 1, 0, ...custom('between', 1), 3, 1, 0)), 'between').length,
])

check('customSections: large names and contents', (W) => {
  const content = new Uint8Array(70000).map((_, index) => index)
  const leb = (n) => [(n & 127) | 128, ((n >> 7) & 127) | 128, n >> 14]
  const name = 'n'.repeat(300)
  const body = [...leb(300), ...Buffer.from(name), ...content]
  const module = new W.Module(bytes(0, ...leb(body.length), ...body))
  const [buffer] = W.Module.customSections(module, name)
  return [buffer, Buffer.compare(Buffer.from(buffer), Buffer.from(content))]
})
