'use strict'
// node --expose-gc [--require register.js] units.js <scenario>: makes parts of one link group and drops them while the
// group goes on; prints what is left as JSON.

const { assemble } = require('./modules.js')

const ours = WebAssembly.Module.tier !== undefined

const MAIN = `(module
  (type $f (func (param i32) (result i32)))
  (table $t (export "table") 64 funcref)
  (table $own 4 funcref)
  (func (export "call") (param i32 i32) (result i32) (call_indirect $t (type $f) (local.get 1) (local.get 0)))
  (func (export "put") (param i32 funcref) (table.set $t (local.get 0) (local.get 1)))
  (func (export "hide") (param i32) (table.set $own (i32.const 0) (table.get $t (local.get 0))))
  (func (export "hidden") (param i32) (result i32) (call_indirect $own (type $f) (local.get 0) (i32.const 0))))`

// Calls its import; `publish` puts the function into the table by itself.
const BLOCK = `(module
  (type $f (func (param i32) (result i32)))
  (import "e" "table" (table 64 funcref))
  (import "e" "f" (func $import (type $f)))
  (elem declare func $f)
  (func $f (export "f") (type $f) (i32.add (i32.const 1) (call $import (local.get 0))))
  (func (export "publish") (param i32) (table.set (local.get 0) (ref.func $f))))`

// Imports a function of another instance; as a table of its own, which nobody else sees, it has MAIN's only.
const USER = `(module
  (type $f (func (param i32) (result i32)))
  (import "e" "table" (table 64 funcref))
  (import "e" "f" (func $import (type $f)))
  (func (export "use") (type $f) (i32.mul (i32.const 2) (call $import (local.get 0)))))`

const WRAPPER = '(module (import "e" "f" (func (param i32) (result i32))) (export "f" (func 0)))'

let collected = 0
const registry = new FinalizationRegistry(() => collected++)

/** Collections and turns of the event loop, until `done` or for 60 turns. */
async function collect(done) {
  for (let turn = 0; turn < 60 && !done(); turn++) {
    globalThis.gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

const turns = (count) => collect(() => count-- === 0)

/** A function of JavaScript's whose collection counts. */
function closure(value) {
  const made = (x) => x + value
  registry.register(made)
  return made
}

function instancesOf(exported) {
  if (!ours) return null
  const { describeFunction } = require('../../dist/engine.js').load('api/function.js')
  return require('../../binding.js').inspect(describeFunction(exported).group.handle).instances
}

const scenarios = {
  /** Instances that share a table, each in the place of another one. */
  async dropped({ main, block }) {
    const count = 1000
    let sum = 0
    for (let i = 0; i < count; i++) {
      const { f } = new WebAssembly.Instance(block, { e: { table: main.table, f: closure(i) } }).exports
      main.table.set(i % 64, f)
      sum += main.call(i % 64, 1)
      if (i % 100 === 99) await turns(2)
    }
    await collect(() => collected === count - 64 && (!ours || instancesOf(main.call) === 65))
    return { sum, collected, instances: instancesOf(main.call) }
  },

  /** Functions of JavaScript's that go into a table and out again (Emscripten's addFunction). */
  async functions({ main, wrapper }) {
    const count = 1000
    let sum = 0
    for (let i = 0; i < count; i++) {
      main.table.set(i % 8, new WebAssembly.Instance(wrapper, { e: { f: closure(i) } }).exports.f)
      sum += main.call(i % 8, 1)
      main.table.set(i % 8, null)
    }
    await collect(() => collected === count)
    return { sum, collected }
  },

  /** What only WebAssembly can reach stays, is itself, and works. */
  async reached({ main, block, user }) {
    const make = (value) => new WebAssembly.Instance(block, { e: { table: main.table, f: closure(value) } }).exports
    const marked = (fn, mark) => Object.assign(fn, { mark })
    ;(() => {
      main.table.set(0, marked(make(10).f, 'in a table'))
      main.put(1, marked(make(20).f, 'passed'))
      main.table.set(2, make(30).f)
      main.hide(2)
      main.table.set(2, null)
    })()
    const here = { idle: make(40) }
    marked(here.idle.f, 'by itself')
    here.user = new WebAssembly.Instance(user, { e: { table: main.table, f: make(50).f } }).exports
    await turns(6)
    // Nothing of WebAssembly has reached it so far.
    here.idle.publish(3)
    main.table.set(4, here.user.use)
    here.idle = here.user = undefined
    await turns(6)
    const marks = [0, 1, 3].map((at) => main.table.get(at).mark)
    const results = [0, 1, 3, 4].map((at) => main.call(at, 1))
    return { marks, results, hidden: main.hidden(1), collected }
  },

  /** All in one call of WebAssembly, with no turn of the event loop. */
  async inside({ main, block, wrapper }) {
    const looping = await assemble(`(module (import "e" "step" (func $step (param i32) (result i32)))
      (func (export "loop") (param i32) (result i32) (local $sum i32)
        (loop $again (local.set $sum (i32.add (local.get $sum) (call $step (local.get 0))))
          (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) (local.get $sum)))`)
    const step = (i) => {
      const e = { table: main.table, f: closure(i) }
      const [instance, at] = i % 2 === 0 ? [block, i % 64] : [wrapper, 63]
      main.table.set(at, new WebAssembly.Instance(instance, { e }).exports.f)
      if (i % 50 === 0) globalThis.gc()
      return main.call(at, 1)
    }
    const { loop } = new WebAssembly.Instance(new WebAssembly.Module(looping), { e: { step } }).exports
    const sum = loop(2000)
    return { sum, few: instancesOf(main.call) < 600 }
  },

  /** One that drops itself while it runs goes on: it calls itself through the table when it is not there any more. */
  async running({ main, block }) {
    const results = []
    const make = (f) => new WebAssembly.Instance(block, { e: { table: main.table, f } }).exports.f
    const forget = (x) => {
      main.table.set(0, null)
      for (let i = 0; i < 300; i++) {
        main.table.set(
          1,
          make((y) => y + i)
        )
      }
      globalThis.gc()
      for (let i = 0; i < 300; i++) {
        main.table.set(
          1,
          make((y) => y + i)
        )
      }
      return x * 10
    }
    for (let depth = 0; depth < 3; depth++) {
      main.table.set(0, make(depth === 0 ? forget : (x) => main.call(0, forget(x))))
      if (depth > 0) {
        main.table.set(
          0,
          make((x) => {
            main.table.set(0, make(forget))
            return main.call(0, x)
          })
        )
      }
      results.push(main.call(0, 7))
    }
    return { results }
  },

  /** The optimizing tier's code goes to instances of which others that imported it are gone. */
  async swapped({ main, block, user }) {
    const { f } = new WebAssembly.Instance(block, { e: { table: main.table, f: closure(1) } }).exports
    for (let i = 0; i < 300; i++) {
      new WebAssembly.Instance(user, { e: { table: main.table, f } }).exports.use(i)
      if (i % 100 === 99) await turns(3)
    }
    await collect(() => instancesOf(main.call) === 2)
    const before = instancesOf(main.call)
    if (ours) await WebAssembly.Module.optimized(block)
    return { result: f(1), before }
  },
}

async function main() {
  const [text, block, user, wrapper] = await Promise.all([MAIN, BLOCK, USER, WRAPPER].map((wat) => assemble(wat)))
  const made = {
    main: new WebAssembly.Instance(new WebAssembly.Module(text)).exports,
    block: new WebAssembly.Module(block),
    user: new WebAssembly.Module(user),
    wrapper: new WebAssembly.Module(wrapper),
  }
  console.log(JSON.stringify(await scenarios[process.argv[2]](made)))
}

main()
