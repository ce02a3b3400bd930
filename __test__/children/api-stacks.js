'use strict'
// Errors of the API's own functions, and of what those call of the program's, with their stacks. argv: builtin, or ours.

const { assemble } = require('./modules.js')

const W = process.argv[2] === 'builtin' ? WebAssembly : require('../../index.js')

const EMPTY = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)
const INVALID = Uint8Array.of(0, 1, 2, 3)

function fail() {
  throw new EvalError('of the program')
}

const throwing = {
  get any() {
    return fail()
  },
}
const unconvertible = { valueOf: fail, toString: fail }

/** A dictionary whose member `name` throws when it is read. */
const refusing = (name, rest) => Object.defineProperty({ ...rest }, name, { enumerable: true, get: () => throwing.any })

async function makeCases() {
  const module = new W.Module(
    await assemble(`(module
      (import "m" "f" (func $f))
      (import "m" "g" (global $g i32))
      (memory (export "memory") 1 2)
      (table (export "table") 2 3 funcref)
      (table (export "references") 2 3 externref)
      (global (export "global") (mut i32) (i32.const 0))
      (global (export "long") (mut i64) (i64.const 0))
      (global (export "constant") i32 (i32.const 0))
      (global (export "function") (mut funcref) (ref.null func))
      (func (export "number") (param i32))
      (func (export "two") (param i32 f64) (result f64) (local.get 1))
      (func (export "bigint") (param i64))
      (func (export "reference") (param funcref))
      (func (export "call") (call $f)))`)
  )
  const starting = new W.Module(await assemble('(module (import "m" "f" (func $f)) (start $f))'))
  const trapping = new W.Module(await assemble('(module (func $s (unreachable)) (start $s))'))
  const segment = new W.Module(await assemble('(module (memory 1) (data (i32.const 65536) "a"))'))
  const converting = new W.Module(
    await assemble('(module (import "m" "f" (func $f (result i32))) (func (export "f") (drop (call $f))))')
  )
  const imports = { m: { f() {}, g: 1 } }
  const { exports } = new W.Instance(module, imports)
  const memory = new W.Memory({ initial: 1, maximum: 1 })
  const table = new W.Table({ initial: 2, element: 'anyfunc' })
  const global = new W.Global({ value: 'i32', mutable: true })
  const tag = new W.Tag({ parameters: ['i32'] })
  const exception = new W.Exception(tag, [1])
  const getter = (Class, name) => Object.getOwnPropertyDescriptor(Class.prototype, name).get

  const sync = {
    'Module without new': () => W.Module(EMPTY),
    'Module of nothing': () => new W.Module(),
    'Module of no bytes': () => new W.Module(new Uint8Array(0)),
    'Module of invalid bytes': () => new W.Module(INVALID),
    'Module.imports': () => W.Module.imports({}),
    'Module.exports': () => W.Module.exports({}),
    'Module.customSections of nothing': () => W.Module.customSections({}),
    'Module.customSections without a name': () => W.Module.customSections(module),
    'Module.customSections, a name that throws': () => W.Module.customSections(module, unconvertible),
    'Module.customSections of a Symbol': () => W.Module.customSections(module, Symbol()),
    validate: () => W.validate(1),
    'Instance without new': () => W.Instance(module),
    'Instance of nothing': () => new W.Instance(),
    'Instance with a number': () => new W.Instance(module, 1),
    'Instance without imports': () => new W.Instance(module),
    'Instance without a module of imports': () => new W.Instance(module, {}),
    'Instance, a LinkError': () => new W.Instance(module, { m: {} }),
    'Instance, a LinkError of matching': () => new W.Instance(module, { m: { f: exports.number, g: 1 } }),
    'Instance, a getter': () => new W.Instance(module, throwing.any),
    'Instance, a getter of the module': () => new W.Instance(module, refusing('m')),
    'Instance, a getter of a member': () => new W.Instance(module, { m: refusing('f') }),
    'Instance in a getter': () =>
      new W.Instance(module, {
        get m() {
          return new W.Instance(module, { m: {} })
        },
      }),
    'Instance, a segment': () => new W.Instance(segment),
    'Instance, start throws': () => new W.Instance(starting, { m: { f: fail } }),
    'Instance, start traps': () => new W.Instance(trapping),
    'Instance.exports': () => apply(getter(W.Instance, 'exports'), {}),
    'Memory without new': () => W.Memory({ initial: 1 }),
    'Memory of nothing': () => new W.Memory(),
    'Memory, initial': () => new W.Memory({ initial: 9e9 }),
    'Memory, a getter': () => new W.Memory(refusing('initial')),
    'Memory, a conversion': () => new W.Memory({ initial: unconvertible }),
    'Memory.grow': () => memory.grow(5),
    'Memory.grow of a module': () => exports.memory.grow(5),
    'Memory.grow, a conversion': () => memory.grow(unconvertible),
    'Memory.grow of nothing': () => W.Memory.prototype.grow.call({}, 1),
    'Memory.toFixedLengthBuffer': () => W.Memory.prototype.toFixedLengthBuffer?.call({}),
    'Memory.buffer': () => apply(getter(W.Memory, 'buffer'), {}),
    'Table without new': () => W.Table({ initial: 1, element: 'anyfunc' }),
    'Table of nothing': () => new W.Table(),
    'Table, element': () => new W.Table({ initial: 1, element: 'x' }),
    'Table, a getter': () => new W.Table(refusing('initial', { element: 'anyfunc' })),
    'Table, a conversion': () => new W.Table({ initial: unconvertible, element: 'anyfunc' }),
    'Table, an element that throws': () => new W.Table({ initial: 1, element: unconvertible }),
    'Table, a value': () => new W.Table({ initial: 1, element: 'anyfunc' }, 1),
    'Table.get': () => table.get(9),
    'Table.get of a Symbol': () => table.get(Symbol()),
    'Table.set': () => table.set(9),
    'Table.set of a function': () => table.set(0, () => 1),
    'Table.grow': () => table.grow(4e9),
    'Table.get, a conversion': () => table.get(unconvertible),
    'Table.length': () => apply(getter(W.Table, 'length'), {}),
    'Table.get of a module': () => exports.table.get(9),
    'Table.set of a module': () => exports.table.set(0, () => 1),
    'Table.grow of a module': () => exports.table.grow(9),
    'Table.get of a module, a conversion': () => exports.table.get(unconvertible),
    'Table.set of a module, a conversion': () => exports.references.set(unconvertible, 1),
    'Table.grow of a module, a conversion': () => exports.references.grow(unconvertible, 1),
    'Global without new': () => W.Global({ value: 'i32' }, 1),
    'Global of nothing': () => new W.Global(),
    'Global, value': () => new W.Global({ value: 'x' }),
    'Global, a getter': () => new W.Global(refusing('value')),
    'Global, a conversion': () => new W.Global({ value: 'i32' }, unconvertible),
    'Global.value': () => (global.value = 1n),
    'Global.value of a Symbol': () => (global.value = Symbol()),
    'Global.value, a conversion': () => (global.value = unconvertible),
    'Global.value of a module': () => (exports.global.value = 1n),
    'Global.value of a module, a conversion': () => (exports.global.value = unconvertible),
    'Global.value of a module, a BigInt': () => (exports.long.value = 1),
    'Global.value of a module, a conversion to BigInt': () => (exports.long.value = unconvertible),
    'Global.value of a module, a function': () => (exports.function.value = 1),
    'Global.value of a constant': () => (exports.constant.value = 1),
    'Global.valueOf': () => W.Global.prototype.valueOf.call({}),
    'Tag without new': () => W.Tag({ parameters: [] }),
    'Tag of nothing': () => new W.Tag(),
    'Tag, a parameter': () => new W.Tag({ parameters: ['x'] }),
    'Tag, a getter': () => new W.Tag(refusing('parameters')),
    'Tag, a getter of an index': () => new W.Tag({ parameters: refusing('0', { length: 1 }) }),
    'Exception of nothing': () => new W.Exception(),
    'Exception.getArg': () => exception.getArg(tag, 9),
    'an argument, a Symbol': () => exports.number(Symbol()),
    'an argument, a BigInt': () => exports.number(1n),
    'an argument, a conversion': () => exports.number(unconvertible),
    'an argument of several': () => exports.two(1, unconvertible),
    'an argument of several, a Symbol': () => exports.two(1, Symbol()),
    'an argument, no BigInt': () => exports.bigint(1),
    'an argument, a conversion to BigInt': () => exports.bigint(unconvertible),
    'an argument, no function': () => exports.reference(1),
    'an argument, in a method of Array': () => [1n].map(exports.number),
    'a result, a BigInt': () => new W.Instance(converting, { m: { f: () => 1n } }).exports.f(),
    'a result, a conversion': () => new W.Instance(converting, { m: { f: () => unconvertible } }).exports.f(),
    'in a method of Array': () => [9].map(table.get, table),
    'in a method of Array, of a module': () => [9].map(exports.table.get, exports.table),
    'an error of before': () =>
      new W.Instance(module, {
        get m() {
          throw before
        },
      }),
    'an error of another call': () =>
      new W.Instance(module, {
        get m() {
          throw kept
        },
      }),
    'an error whose stack was read': () =>
      new W.Instance(module, {
        get m() {
          throw read(new Error('read'))
        },
      }),
    'an error whose stack was written': () =>
      new W.Instance(module, {
        get m() {
          throw Object.assign(new Error(), { stack: 'x' })
        },
      }),
    'an error that is given': (error = null) =>
      new W.Instance(module, {
        get m() {
          throw error
        },
      }),
    'no error': () =>
      new W.Instance(module, {
        get m() {
          throw { stack: 'its own' }
        },
      }),
  }
  const apply = (fn, self) => Reflect.apply(fn, self, [])
  const read = (error) => typeof error.stack === 'string' && error
  const before = new Error('before')
  let kept
  try {
    new W.Instance(module, {
      get m() {
        throw (kept = new Error('kept'))
      },
    })
  } catch {
    // Shown by another call.
  }

  const response = (bytes) => new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
  const async = {
    'compile nothing': () => W.compile(),
    'compile no bytes': () => W.compile(new Uint8Array(0)),
    'compile invalid bytes': () => W.compile(INVALID),
    'instantiate nothing': () => W.instantiate(),
    'instantiate no bytes': () => W.instantiate(new Uint8Array(0)),
    'instantiate with a number': () => W.instantiate(EMPTY, 1),
    'instantiate a module with a number': () => W.instantiate(module, 1),
    'instantiate invalid bytes': () => W.instantiate(INVALID, {}),
    'instantiate a module without imports': () => W.instantiate(module),
    'instantiate a module, a LinkError': () => W.instantiate(module, { m: {} }),
    'instantiate a module, a getter': () => W.instantiate(module, refusing('m')),
    'instantiate a module, start throws': () => W.instantiate(starting, { m: { f: fail } }),
    'instantiate a module, start traps': () => W.instantiate(trapping),
    'instantiate bytes, a LinkError': () => W.instantiate(importing, {}),
    'instantiate bytes, a getter': () => W.instantiate(importing, refusing('m')),
    'instantiate bytes, start throws': () => W.instantiate(importing, { m: { f: fail } }),
    'instantiateStreaming with a number': () => W.instantiateStreaming(response(EMPTY), 1),
    'compileStreaming invalid bytes': () => W.compileStreaming(response(INVALID)),
    'instantiateStreaming invalid bytes': () => W.instantiateStreaming(response(INVALID)),
    'instantiateStreaming, a LinkError': () => W.instantiateStreaming(response(importing), {}),
    'instantiateStreaming, a getter': () => W.instantiateStreaming(response(importing), refusing('m')),
    'instantiateStreaming, start throws': () => W.instantiateStreaming(response(importing), { m: { f: fail } }),
  }
  const importing = await assemble('(module (import "m" "f" (func $f)) (start $f))')
  return { sync, async }
}

/** What is seen of an error: itself, or its own text of it. */
const facts = (error) => [error?.name, error?.stack]

function deep(depth, action) {
  return depth === 0 ? action() : deep(depth - 1, action)
}

function caught(action) {
  try {
    deep(3, action)
  } catch (error) {
    return error
  }
  return undefined
}

async function rejected(action) {
  try {
    await deep(3, action)
  } catch (error) {
    return error
  }
  return undefined
}

const text = (site) => `${site}`

/** How the program can have its stacks: Error's properties, and what it sees. */
const WAYS = {
  plain: {},
  'a limit of 3': { stackTraceLimit: 3 },
  'a limit of 100': { stackTraceLimit: 100 },
  'a limit of 0': { stackTraceLimit: 0 },
  'no limit': { stackTraceLimit: undefined },
  'a limit that is no number': { stackTraceLimit: 'x' },
  'call sites': { prepareStackTrace: (_, sites) => sites.map(text) },
}

async function main() {
  const stacks = {}
  const { sync, async } = await makeCases()
  for (const [way, properties] of Object.entries(WAYS)) {
    const { stackTraceLimit } = Error
    Object.assign(Error, properties)
    for (const [name, action] of Object.entries(sync)) stacks[`${way}: ${name}`] = facts(caught(action))
    for (const [name, action] of Object.entries(async)) stacks[`${way}: ${name}`] = facts(await rejected(action))
    Error.stackTraceLimit = stackTraceLimit
    delete Error.prepareStackTrace
  }
  // Of an error that cannot be changed, nothing is.
  for (const change of [Object.freeze, Object.preventExtensions]) {
    const unchangeable = change(new Error('unchangeable'))
    const { stack } = unchangeable
    const error = caught(() => sync['an error that is given'](unchangeable))
    stacks[change.name] = [error === unchangeable, error.stack === stack, change(new Error('unread')).message]
  }
  Object.freeze(Error)
  for (const [name, action] of Object.entries(sync)) {
    const error = caught(action)
    stacks[`frozen: ${name}`] = [error?.name, error?.message]
  }
  // Without draining V8's tasks, over which Node may wait for ever (nodejs/node#54918).
  process.stdout.write(JSON.stringify(stacks), () => process.exit())
}

main()
