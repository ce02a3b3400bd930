'use strict'
// node contexts.js <module>: what goes from this realm into vm contexts and back. Prints what happened, in JSON; with the
// package loaded, it is what happens without.

const fs = require('node:fs')
const vm = require('node:vm')

const { caught, engine } = require('./drop-in/outcome.js')

const bytes = new Uint8Array(fs.readFileSync(process.argv[2]))
const NAMES = ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag', 'Exception', 'CompileError', 'LinkError', 'RuntimeError']

const LANGUAGE = ['Function', 'Object', 'Array', 'ArrayBuffer', 'Promise', 'Error', 'TypeError', 'RangeError']

/** Whose prototype the object has: "outside" or "inside", and of which class. */
function classOf(context) {
  const inside = vm.runInContext(`({ WebAssembly, ${LANGUAGE} })`, context)
  const realms = [
    ['outside', globalThis],
    ['inside', inside],
  ]
  return (value) => {
    const prototype = Object.getPrototypeOf(value)
    for (const [realm, classes] of realms) {
      for (const name of NAMES) if (prototype === classes.WebAssembly[name].prototype) return `${realm} ${name}`
      for (const name of LANGUAGE) if (prototype === classes[name].prototype) return `${realm} ${name}`
    }
    return prototype === null ? 'null' : 'other'
  }
}

/** What an action gave, or the realm, class and words of its error. */
const attempt = (whose, action) => {
  try {
    return action()
  } catch (error) {
    return [whose(error), error.message]
  }
}

const own = (object) =>
  Object.fromEntries(Reflect.ownKeys(object).map((name) => [String(name), Object.getOwnPropertyDescriptor(object, name)]))

const imports = () => ({ env: { log() {}, memory: new WebAssembly.Memory({ initial: 1, maximum: 4 }) } })

/** A module that was compiled outside, in a context. */
async function inside(make) {
  const module = new WebAssembly.Module(bytes)
  const sandbox = { module, imports: imports(), bytes }
  const before = own(sandbox)
  const context = make(sandbox)
  const run = (code) => vm.runInContext(code, context)
  const untouched = JSON.stringify(own(sandbox)) === JSON.stringify(before)
  const whose = classOf(context)
  const tried = (code) => attempt(whose, () => run(code))
  const instance = run('new WebAssembly.Instance(module, imports)')
  const promise = run('WebAssembly.instantiate(module, imports)')
  const fromBytes = run('WebAssembly.instantiate(bytes, imports)')
  const both = await fromBytes
  const { exports } = instance
  return {
    untouched,
    name: run('Object.prototype.toString.call(WebAssembly)'),
    lists: run('JSON.stringify([WebAssembly.Module.imports(module), WebAssembly.Module.exports(module)])'),
    custom: run(
      'WebAssembly.Module.customSections(module, "greeting").map((section) => String.fromCharCode(...new Uint8Array(section)))'
    ),
    realms: {
      module: whose(module),
      instance: whose(instance),
      exports: whose(exports),
      run: whose(exports.run),
      table: whose(exports.table),
      count: whose(exports.count),
      tag: whose(exports.tag),
      promise: whose(promise),
      instantiated: whose(await promise),
      both: [whose(fromBytes), whose(both), whose(both.module), whose(both.instance)],
      imports: whose(run('WebAssembly.Module.imports(module)')),
      declared: whose(run('WebAssembly.Module.imports(module)[0]')),
      custom: whose(run('WebAssembly.Module.customSections(module, "greeting")')),
      section: whose(run('WebAssembly.Module.customSections(module, "greeting")[0]')),
      several: whose(exports.several()),
      own: whose(run('new WebAssembly.Module(bytes)')),
      memory: whose(run('new WebAssembly.Memory({ initial: 1 })')),
      buffer: whose(run('new WebAssembly.Memory({ initial: 1 }).buffer')),
      validated: run('WebAssembly.validate(bytes)'),
    },
    instances: run(
      '[module instanceof WebAssembly.Module, new WebAssembly.Instance(module, imports) instanceof WebAssembly.Instance, imports.env.memory instanceof WebAssembly.Memory]'
    ),
    outside: [
      instance instanceof WebAssembly.Instance,
      both.module instanceof WebAssembly.Module,
      both.module instanceof run('WebAssembly.Module'),
    ],
    results: [String(exports.run(5)), exports.several(), exports.table.get(0) === exports.run, exports.count.value],
    errors: {
      imports: tried('new WebAssembly.Instance(module)'),
      link: tried('new WebAssembly.Instance(module, { env: { log: 1, memory: imports.env.memory } })'),
      module: tried('new WebAssembly.Instance({})'),
      bytes: tried('new WebAssembly.Module(new Uint8Array(4))')[0],
      trap: attempt(whose, () => exports.trap()),
      range: attempt(whose, () => exports.load(4 * 65536)),
      statics: tried('WebAssembly.Module.exports({})'),
      memory: tried('new WebAssembly.Memory({ initial: -1 })'),
      rejected: await run('WebAssembly.instantiate(module)').catch((error) => [whose(error), error.message]),
    },
  }
}

function thrownBy(f) {
  try {
    f()
  } catch (error) {
    return error
  }
  throw new Error('nothing was thrown')
}

/** Objects of one realm used by the other, both ways: `Maker` makes, `User` uses. */
function crossing(Maker, User) {
  const memory = new Maker.Memory({ initial: 1, maximum: 4 })
  const env = { log() {}, memory }
  const module = new Maker.Module(bytes)
  const first = new Maker.Instance(module, { env })
  const second = new User.Instance(new User.Module(bytes), { env })
  const { run, table, count, tag, raise } = first.exports
  run(7)
  const told = { shared: [new Int32Array(memory.buffer)[2], second.exports.load(8), memory.buffer.byteLength] }
  memory.grow(1)
  told.grown = [second.exports.load(2 * 65536 - 4), String(second.exports.run(1)), memory.buffer.byteLength]
  // What an instance of one realm exports, for one of the other.
  const linker = new User.Module(linkerBytes)
  const linked = new User.Instance(linker, { m: { run, table, count, tag, raise } })
  told.linked = [String(linked.exports.call(3)), String(linked.exports.indirect(4)), linked.exports.count(), count.value]
  told.tableGet = [table.get(0) === run, linked.exports.table === table, linked.exports.again === run]
  const thrown = [() => raise(5), () => linked.exports.raise(6)].map(thrownBy)
  told.thrown = thrown.map((error) => [
    error instanceof Maker.Exception,
    error instanceof User.Exception,
    error.is(tag),
    error.getArg(tag, 0),
  ])
  // Members of one realm's classes on objects of the other's.
  const { Table, Global, Memory, Instance } = User
  const getter = (Class, name) => Object.getOwnPropertyDescriptor(Class.prototype, name).get
  told.members = [
    Table.prototype.get.call(table, 0) === run,
    getter(Table, 'length').call(table),
    Table.prototype.grow.call(table, 1),
    table.length,
    getter(Global, 'value').call(count),
    getter(Memory, 'buffer').call(memory) === memory.buffer,
    Memory.prototype.grow.call(memory, 0),
    getter(Instance, 'exports').call(first) === first.exports,
  ]
  Table.prototype.set.call(table, 1, second.exports.run)
  told.set = [table.get(1) === second.exports.run, String(first.exports.through(1, 6))]
  // Made by hand, with functions of the other realm.
  const made = new User.Table({ element: 'anyfunc', initial: 2 }, run)
  made.set(1, null)
  const global = new User.Global({ value: 'anyfunc', mutable: true }, run)
  told.made = [made.get(0) === run, made.get(1), global.value === run]
  global.value = second.exports.run
  told.global = global.value === second.exports.run
  told.wrong = [caught(() => made.set(0, () => {})).slice(1), caught(() => table.get(100)).slice(1)]
  return told
}

let linkerBytes

/** Every way in which a program gets a context, and a Module into it. */
async function ways() {
  const module = new WebAssembly.Module(bytes)
  const code =
    'JSON.stringify([WebAssembly.Module.exports(module).length, String(new WebAssembly.Instance(module, imports).exports.run(2))])'
  const sandbox = () => ({ module, imports: imports() })
  const seen = {
    createContext: vm.runInContext(code, vm.createContext(sandbox())),
    runInNewContext: vm.runInNewContext(code, sandbox()),
    script: new vm.Script(code).runInNewContext(sandbox()),
    options: vm.runInNewContext(code, sandbox(), {
      contextName: 'x',
      microtaskMode: 'afterEvaluate',
      contextCodeGeneration: { strings: false },
    }),
    imported: (await import('node:vm')).runInNewContext(code, sandbox()),
    repeated: vm.runInContext(code, vm.createContext(vm.createContext(sandbox()))),
    nested: vm.runInNewContext('vm.runInNewContext(code, { module, imports })', { vm, code, ...sandbox() }),
    proxy: vm.runInContext(code, vm.createContext(new Proxy(sandbox(), {}))),
    frozen: vm.runInContext(code, vm.createContext(Object.freeze(sandbox()))),
    function: vm.compileFunction(`return ${code}`, [], { parsingContext: vm.createContext(sandbox()) })(),
    own: vm.runInNewContext('WebAssembly', { WebAssembly: 7 }),
    getter: vm.runInNewContext(
      '0',
      Object.defineProperty({}, 'WebAssembly', {
        get: () => {
          throw new Error('asked')
        },
      })
    ),
    // What the program does to the context's classes before they are used for the first time.
    tampered: vm.runInNewContext(
      `Object = Array = Error = TypeError = Map = WeakMap = Reflect = Promise = Symbol = undefined; ${code}`,
      { ...sandbox(), Uint8Array, Error }
    ),
    assigned: vm.runInNewContext('WebAssembly.instantiate = 5; WebAssembly.instantiate + typeof WebAssembly.compile', {}),
    deleted: vm.runInNewContext('delete WebAssembly.Module; typeof WebAssembly.Module + typeof WebAssembly.Instance', {}),
    sealed: vm.runInNewContext(`Object.freeze(WebAssembly); ${code}`, sandbox()),
    inherited: vm.runInNewContext(
      'const mine = Object.create(WebAssembly); mine.Module = 5; [mine.Module, typeof WebAssembly.Module].join()',
      {}
    ),
  }
  if (vm.constants?.DONT_CONTEXTIFY !== undefined) {
    const context = vm.createContext(vm.constants.DONT_CONTEXTIFY)
    seen.vanilla = vm.runInContext(`(module, imports) => ${code}`, context)(module, imports())
  }
  return seen
}

/** A context that may not compile, but instantiates what it is given. */
async function forbidden() {
  const sandbox = { module: new WebAssembly.Module(bytes), imports: imports(), bytes, empty: new Uint8Array() }
  const context = vm.createContext(sandbox, { codeGeneration: { wasm: false } })
  const whose = classOf(context)
  const tried = (code) => attempt(whose, () => vm.runInContext(code, context))
  return {
    module: tried('new WebAssembly.Module(bytes)'),
    empty: tried('new WebAssembly.Module(empty)'),
    compile: await tried('WebAssembly.compile(bytes)').catch((error) => [whose(error), error.message]),
    instantiate: await tried('WebAssembly.instantiate(bytes, imports)').catch((error) => [whose(error), error.message]),
    validate: tried('WebAssembly.validate(bytes)'),
    given: tried('String(new WebAssembly.Instance(module, imports).exports.run(2))'),
    promised: tried('WebAssembly.instantiate(module, imports)') instanceof Object,
    table: tried(
      'new WebAssembly.Table({ element: "anyfunc", initial: 1 }, new WebAssembly.Instance(module, imports).exports.run).length'
    ),
  }
}

/** The stacks of what ends a script, and of what Node refuses; its own frames as they are in this version. */
function stacks() {
  const stackOf = (f) => {
    try {
      f()
    } catch (error) {
      return error.stack.replaceAll(__filename, 'FILE')
    }
  }
  return [
    stackOf(() => vm.runInNewContext('\n\nthrow new Error("mine")', {}, 'mine.js')),
    stackOf(() => new vm.Script('(() => { throw new RangeError("mine") })()', { filename: 'mine.js' }).runInNewContext({})),
    stackOf(() => vm.runInNewContext('syntax error', {}, { filename: 'mine.js' })),
    stackOf(() => vm.createContext(1)),
    stackOf(() => vm.createContext({}, { name: 1 })),
    stackOf(() => vm.runInNewContext('0', null)),
    stackOf(() => vm.runInNewContext('0', {}, { contextName: 1 })),
    stackOf(() => new vm.Script('0').runInNewContext({}, { contextCodeGeneration: 1 })),
    stackOf(() => vm.runInNewContext('throw outer', { outer: new Error('outer') })),
  ]
}

const shapes = () =>
  [vm.createContext, vm.runInNewContext, vm.Script.prototype.runInNewContext].map(({ name, length, prototype }) => [
    name,
    length,
    typeof prototype,
  ])

async function main() {
  linkerBytes = new Uint8Array(fs.readFileSync(process.argv[3]))
  const context = vm.createContext({ bytes })
  const Inside = vm.runInContext('WebAssembly', context)
  const Other = vm.runInNewContext('WebAssembly', {})
  const told = {
    contextified: await inside((sandbox) => vm.createContext(sandbox)),
    afterEvaluate: caught(() =>
      vm.runInNewContext(
        'new WebAssembly.Instance(module, imports).exports.several().join()',
        { module: new WebAssembly.Module(bytes), imports: imports() },
        { microtaskMode: 'afterEvaluate' }
      )
    ),
    out: crossing(Inside, WebAssembly),
    in: crossing(WebAssembly, Inside),
    between: crossing(Inside, Other),
    ways: await ways(),
    forbidden: await forbidden(),
    stacks: stacks(),
    shapes: shapes(),
    engines: [engine(WebAssembly), engine(vm.runInNewContext('WebAssembly'))],
  }
  console.log(JSON.stringify(told))
}

main()
