'use strict'
// Brand checks: every method and accessor with receivers and arguments of every wrong sort.
// https://webidl.spec.whatwg.org/#js-operations (implementation-check an object)

const { inspect } = require('node:util')
const vm = require('node:vm')

// Before the package is installed: the built-in engine knows nothing of the objects of ours.
const untouched = vm.runInNewContext('WebAssembly')

const { INTERFACES, check } = require('../support/conformance.js')

const makers = {
  Module: (W, { module }) => module('(func (export "f"))'),
  Instance: (W, { module }) => new W.Instance(module('')),
  Memory: (W) => new W.Memory({ initial: 1, maximum: 2 }),
  Table: (W) => new W.Table({ element: 'anyfunc', initial: 1 }),
  Global: (W) => new W.Global({ value: 'i32', mutable: true }),
  Tag: (W) => new W.Tag({ parameters: [] }),
  Exception: (W) => new W.Exception(new W.Tag({ parameters: [] }), []),
}

function revoked(target) {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

/** Receivers that are no `name`, whatever they look like. */
function wrong(name, W, tools) {
  const right = makers[name](W, tools)
  const others = INTERFACES.filter((other) => other !== name).map((other) => [`a ${other}`, makers[other](W, tools)])
  return {
    undefined,
    null: null,
    true: true,
    number: 1,
    bigint: 1n,
    string: 'x',
    symbol: Symbol('s'),
    object: {},
    array: [],
    function() {},
    global: globalThis,
    namespace: W,
    constructor: W[name],
    prototype: W[name].prototype,
    heir: Object.create(right),
    ofPrototype: Object.create(W[name].prototype),
    withPrototype: Object.setPrototypeOf({}, W[name].prototype),
    proxy: new Proxy(right, {}),
    revoked: revoked(right),
    otherRealm: vm.runInNewContext('({})'),
    ...Object.fromEntries(others),
  }
}

const CALLS = {
  Memory: { grow: [0] },
  Table: { grow: [0], get: [0], set: [0, null] },
  Global: { valueOf: [] },
  Exception: { is: (W) => [new W.Tag({ parameters: [] })], getArg: (W) => [new W.Tag({ parameters: [] }), 0] },
}

for (const [name, methods] of Object.entries(CALLS)) {
  for (const [method, values] of Object.entries(methods)) {
    check(`${name}.prototype.${method}: receivers that are no ${name}`, (W, tools) => {
      const list = typeof values === 'function' ? values(W) : values
      return tools.all(
        Object.fromEntries(
          Object.entries(wrong(name, W, tools)).map(([sort, receiver]) => [
            sort,
            () => Reflect.apply(W[name].prototype[method], receiver, list),
          ])
        )
      )
    })
  }
}

for (const [name, accessor, sorts] of [
  ['Instance', 'exports', ['get']],
  ['Memory', 'buffer', ['get']],
  ['Table', 'length', ['get']],
  ['Global', 'value', ['get', 'set']],
  ['Exception', 'stack', ['get']],
]) {
  for (const sort of sorts) {
    check(`${sort} ${name}.prototype.${accessor}: receivers that are no ${name}`, (W, tools) => {
      const descriptor = Object.getOwnPropertyDescriptor(W[name].prototype, accessor)
      // V8 up to 12 gives exceptions a property of their own.
      if (descriptor === undefined) return 'absent'
      return tools.all(
        Object.fromEntries(
          Object.entries(wrong(name, W, tools)).map(([kind, receiver]) => [
            kind,
            () => Reflect.apply(descriptor[sort], receiver, [1]),
          ])
        )
      )
    })
  }
}

for (const name of INTERFACES) {
  check(`${name}.prototype is no ${name}: its accessors and methods throw on itself`, (W, { all }) => {
    const { prototype } = W[name]
    return all(
      Object.fromEntries(
        Object.entries(Object.getOwnPropertyDescriptors(prototype))
          .filter(([key]) => key !== 'constructor')
          .map(([key, { get, value }]) => [key, () => Reflect.apply(get ?? value, prototype, [])])
      )
    )
  })

  check(
    `${name}: instanceof, constructor and Object.prototype.toString`,
    (W, tools) => {
      const right = makers[name](W, tools)
      return [
        right instanceof W[name],
        right.constructor === W[name],
        Object.prototype.toString.call(right),
        Object.prototype.toString.call(W[name].prototype),
        Object.prototype.toString.call(Object.create(W[name].prototype)),
      ]
    },
    [true, true, `[object WebAssembly.${name}]`, `[object WebAssembly.${name}]`, `[object WebAssembly.${name}]`]
  )

  check(`${name}: as util.inspect shows it`, (W, tools) => {
    class Mine extends W[name] {}
    return [
      inspect(makers[name](W, tools)),
      inspect(Object.assign(makers[name](W, tools), { own: 1 })),
      inspect(W[name]),
      inspect(Mine),
    ]
  })

  check(`${name}: JSON, assign, freeze and seal`, (W, tools) => {
    const right = makers[name](W, tools)
    const frozen = Object.freeze(makers[name](W, tools))
    return [
      JSON.stringify(right),
      Object.keys({ ...right }),
      Object.isFrozen(frozen),
      Object.getOwnPropertyNames(right),
      ((right.own = 1), right.own),
    ]
  })
}

check(
  'frozen objects work on',
  (W, tools) => {
    const memory = Object.freeze(makers.Memory(W, tools))
    const table = Object.freeze(makers.Table(W, tools))
    const global = Object.freeze(makers.Global(W, tools))
    global.value = 5
    return [
      memory.grow(1),
      memory.buffer.byteLength,
      table.grow(1),
      table.length,
      global.value,
      tools
        .link(
          '(import "i" "m" (memory 1)) (import "i" "t" (table 1 funcref)) (import "i" "g" (global (mut i32))) (func (export "f") (result i32) (global.set 0 (i32.const 7)) (memory.grow (i32.const 0)))',
          { i: { m: memory, t: table, g: global } }
        )
        .f(),
      global.value,
    ]
  },
  [1, 131072, 1, 2, 5, 2, 7]
)

check(
  'subclasses: their methods go by super, and imports take them',
  (W, { link }) => {
    class Mine extends W.Memory {
      grow(delta) {
        return [super.grow(delta), 'mine']
      }
      get buffer() {
        return 'hidden'
      }
    }
    class Own extends W.Table {
      constructor() {
        super({ element: 'anyfunc', initial: 1 })
      }
    }
    class Value extends W.Global {
      get value() {
        return 'hidden'
      }
    }
    const i = { m: new Mine({ initial: 1 }), t: new Own(), g: new Value({ value: 'i32' }, 3) }
    const e = link(
      '(import "i" "m" (memory 1)) (import "i" "t" (table 1 funcref)) (import "i" "g" (global i32)) (export "m" (memory 0)) (func (export "f") (result i32 i32) (memory.size) (global.get 0))',
      { i }
    )
    return [i.m.grow(1), e.f(), e.m === i.m, i.m.buffer, i.t.length]
  },
  [[1, 'mine'], [2, 3], true, 'hidden', 1]
)

check('objects of the built-in’s other realms: the interfaces’ methods take them', (W, { all }) => {
  const other = W === WebAssembly ? vm.runInNewContext('WebAssembly') : untouched
  return all({
    memory: () =>
      Reflect.apply(Object.getOwnPropertyDescriptor(W.Memory.prototype, 'buffer').get, new other.Memory({ initial: 1 }), [])
        .byteLength,
    grow: () => Reflect.apply(W.Memory.prototype.grow, new other.Memory({ initial: 1 }), [1]),
    table: () => Reflect.apply(W.Table.prototype.get, new other.Table({ element: 'anyfunc', initial: 1 }), [0]),
    global: () => Reflect.apply(W.Global.prototype.valueOf, new other.Global({ value: 'i32' }, 5), []),
    module: () => W.Module.exports(new other.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))),
    instance: () => new W.Instance(new other.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]))),
    tag: () => new W.Exception(new other.Tag({ parameters: [] }), []),
  })
})

for (const name of ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag', 'Exception']) {
  check(`${name}: new.target without an object for a prototype`, (W, tools) => {
    const lists = {
      Module: [new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])],
      Instance: [tools.module('')],
      Memory: [{ initial: 1 }],
      Table: [{ element: 'anyfunc', initial: 1 }],
      Global: [{ value: 'i32' }],
      Tag: [{ parameters: [] }],
      Exception: [new W.Tag({ parameters: [] }), []],
    }
    const odd = function () {}.bind()
    odd.prototype = 7
    const prototype = Object.getPrototypeOf(Reflect.construct(W[name], lists[name], odd))
    return [prototype === W[name].prototype, prototype === Object.prototype]
  })
}
