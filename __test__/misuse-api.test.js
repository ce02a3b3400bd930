'use strict'
// What programs may do to the API in the middle of its own work, on two engines. Outcomes are compared as in
// __test__/conformance; a crash ends this file's process, and with it the test.

const { execFile } = require('node:child_process')
const path = require('node:path')
const v8 = require('node:v8')
const vm = require('node:vm')
const { promisify } = require('node:util')
const { Worker } = require('node:worker_threads')

const test = require('ava')

const { check, engine, onBuiltin } = require('./support/conformance.js')
const { assemble } = require('./support/engine.js')

v8.setFlagsFromString('--expose-gc')
const gc = vm.runInNewContext('gc')

const run = promisify(execFile)

const CALLER =
  '(import "e" "f" (func $f (param i32) (result i32))) (func (export "call") (param i32) (result i32) (call $f (local.get 0)))'
const revoked = (target) => {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}
/** Garbage, and its collection: what is not held is gone when this returns. */
const collect = () => {
  gc()
  gc()
}

// ── Buffers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

check('bytes that are detached, resized or shared', (W, { all, assemble }) => {
  const bytes = assemble('(func (export "f"))')
  const resizable = () => {
    const view = new Uint8Array(new ArrayBuffer(bytes.length, { maxByteLength: 4096 }))
    view.set(bytes)
    return view
  }
  return all({
    detached: () => {
      const view = Uint8Array.from(bytes)
      structuredClone(view.buffer, { transfer: [view.buffer] })
      return [W.validate(view), W.Module.exports(new W.Module(view))]
    },
    'a view out of bounds': () => {
      const view = resizable()
      const part = new Uint8Array(view.buffer, 4, bytes.length - 4)
      view.buffer.resize(2)
      return [W.validate(view), W.validate(part)]
    },
    resizable: () => W.validate(resizable()),
    shared: () => {
      const view = new Uint8Array(new SharedArrayBuffer(bytes.length))
      view.set(bytes)
      const module = new W.Module(view)
      view.fill(0)
      return W.Module.exports(module)
    },
  })
})

check('bytes that are detached behind an asynchronous compile', async (W, { assemble }) => {
  const view = Uint8Array.from(assemble('(func (export "f"))'))
  const compiled = W.compile(view)
  const instantiated = W.instantiate(view, new Proxy({}, {}))
  structuredClone(view.buffer, { transfer: [view.buffer] })
  return [W.Module.exports(await compiled), Object.keys((await instantiated).instance.exports), view.length]
})

check('a memory that is grown and posted away while its code waits for an import', (W, { link }) => {
  const seen = []
  const wasm = link(
    `(import "e" "f" (func $f (param i32) (result i32))) (memory (export "m") 1 9)
    (func (export "run") (result i32 i32 i32)
      (drop (call $f (i32.const 0))) (i32.store (i32.const 131072) (i32.const 42))
      (drop (call $f (i32.const 1))) (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536))
      (i32.load (i32.const 131072)) (memory.size) (memory.grow (i32.const 1)))`,
    {
      e: {
        f: (step) => {
          const before = wasm.m.buffer
          wasm.m.grow(step + 2)
          try {
            seen.push(structuredClone(before, { transfer: [before] }))
          } catch (error) {
            seen.push(error.name)
          }
          seen.push(before.byteLength, wasm.m.buffer.byteLength)
          collect()
          return step
        },
      },
    }
  )
  return [wasm.run(), seen, wasm.m.buffer]
})

check('a shared memory that grows during a call', (W, { all, link }) => {
  const memory = new W.Memory({ initial: 1, maximum: 4, shared: true })
  const { run } = link(
    `(import "e" "m" (memory 1 4 shared)) (import "e" "f" (func $f))
    (func (export "run") (param i32) (result i32) (call $f) (i32.store (local.get 0) (i32.const 5)) (memory.size))`,
    { e: { m: memory, f: () => memory.grow(1) } }
  )
  return all({ second: () => run(65536), third: () => run(131072), end: () => run(4 * 65536), full: () => run(0) })
})

// ── Getters, proxies, iterators ─────────────────────────────────────────────────────────────────────────────────────

check('a getter of the imports that instantiates the same module, four deep, and fails at the end', (W, { all, module }) => {
  const compiled = module(CALLER)
  const nest = (depth, last) =>
    new W.Instance(compiled, {
      e: {
        get f() {
          if (depth === 0) return last()
          const inner = nest(depth - 1, last).exports.call
          collect()
          return inner
        },
      },
    }).exports.call(depth)
  return all({
    works: () => nest(4, () => (x) => x + 1),
    throws: () =>
      nest(4, () => {
        throw new EvalError('deep')
      }),
    mismatch: () => nest(4, () => 1),
  })
})

check('a getter that grows and refills what is imported beside it', (W, { link }) => {
  const table = new W.Table({ element: 'anyfunc', initial: 1 })
  const memory = new W.Memory({ initial: 1 })
  const { call } = link(CALLER, { e: { f: (x) => x } })
  const wasm = link(
    `(import "e" "t" (table 3 funcref)) (import "e" "m" (memory 2)) (import "e" "f" (func $f))
    (type $t (func (param i32) (result i32)))
    (func (export "run") (param i32) (result i32) (i32.add (memory.size) (call_indirect (type $t) (i32.const 7) (local.get 0))))`,
    {
      get e() {
        table.grow(1, call)
        return {
          t: table,
          m: memory,
          get f() {
            table.grow(1, call)
            memory.grow(1)
            return () => {}
          },
        }
      },
    }
  )
  return [wasm.run(1), wasm.run(2), table.length]
})

check('proxies in every place, revoked while they are used', (W, { all, module }) => {
  const compiled = module(CALLER)
  const callable = Proxy.revocable((x) => x, {})
  const { call } = new W.Instance(compiled, { e: { f: callable.proxy } }).exports
  return all({
    before: () => call(3),
    after: () => (callable.revoke(), call(3)),
    'in its own trap': () => {
      const own = Proxy.revocable(() => 1, { apply: () => (own.revoke(), collect(), 8) })
      const wasm = new W.Instance(compiled, { e: { f: own.proxy } }).exports
      return [wasm.call(1), wasm.call.length]
    },
    module: () => new W.Instance(new Proxy(compiled, {}), {}),
    bytes: () => new W.Module(revoked(new Uint8Array(8))),
    imports: () => new W.Instance(compiled, revoked({})),
    namespace: () => new W.Instance(compiled, { e: revoked({}) }),
    field: () => new W.Instance(compiled, { e: { f: revoked({}) } }),
    descriptors: () =>
      ['Memory', 'Table', 'Global', 'Tag'].map((name) => {
        try {
          return new W[name](revoked({}))
        } catch (error) {
          return error
        }
      }),
    receiver: () => Reflect.apply(Object.getOwnPropertyDescriptor(W.Memory.prototype, 'buffer').get, revoked({}), []),
    payload: () => new W.Exception(new W.Tag({ parameters: ['i32'] }), revoked([])),
  })
})

check('exceptions at every border', (W, { all, link }) => {
  const throwing = (key) => ({
    [key]() {
      throw new URIError(`in ${String(key)}`)
    },
  })
  const through = (result, type = 'i32 i32') =>
    link(`(import "e" "f" (func $f (result ${type}))) (func (export "f") (result ${type}) (call $f))`, { e: { f: () => result } }).f
  const { take } = link('(func (export "take") (param i32 i64) (result i32) (local.get 0))')
  return all({
    argument: () => take(throwing('valueOf'), 1n),
    'second argument': () => take(1, throwing(Symbol.toPrimitive)),
    'wrong type': () => take(Symbol('s'), 1n),
    bigint: () => take(1, 1),
    result: () => through(throwing('valueOf'), 'i32')(),
    iterator: () => through(throwing(Symbol.iterator))(),
    next: () => through({ [Symbol.iterator]: () => throwing('next') })(),
    element: () => through([1, throwing('valueOf')])(),
    start: () =>
      link('(import "e" "f" (func $f)) (start $f)', {
        e: {
          f() {
            throw new URIError('in start')
          },
        },
      }),
    'undefined itself': () =>
      link('(import "e" "f" (func $f)) (func (export "f") (call $f))', {
        e: {
          f() {
            throw undefined
          },
        },
      }).f(),
    initial: () => new W.Memory({ initial: throwing('valueOf') }),
    value: () => new W.Global({ value: 'i32', mutable: true }, throwing('valueOf')),
    index: () => new W.Table({ element: 'anyfunc', initial: 1 }).set(throwing('valueOf'), null),
    payload: () => new W.Exception(new W.Tag({ parameters: ['i32'] }), throwing(Symbol.iterator)),
  })
})

// ── Calls ───────────────────────────────────────────────────────────────────────────────────────────────────────────

check('imports that recurse to the end of the stack, again and again', (W, { link }) => {
  let deepest = 0
  const wasm = link(CALLER, { e: { f: (x) => ((deepest = Math.max(deepest, x)), x < 0 ? 7 : wasm.call(x + 1)) } })
  const outcomes = []
  for (let k = 0; k < 5; k++) {
    try {
      wasm.call(0)
    } catch (error) {
      outcomes.push(error instanceof RangeError, error.message)
    }
    collect()
  }
  return [outcomes, deepest > 100, wasm.call(-1)]
})

check('argument lists of thousands', (W, { all, link }) => {
  const many = 'i32 '.repeat(1000)
  const get = (index) => `(local.get ${index})`
  const wasm = link(
    `(import "e" "f" (func $f (param ${many}) (result ${many})))
    (func (export "one") (param i32) (result i32) (local.get 0))
    (func (export "many") (param ${many}) (result ${many}) ${Array.from({ length: 1000 }, (_, index) => get(index)).join('')} (call $f))`,
    { e: { f: (...values) => values.reverse() } }
  )
  const values = Array.from({ length: 50_000 }, (_, index) => index)
  const tag = new W.Tag({ parameters: Array(1000).fill('i32') })
  return all({
    one: () => wasm.one(...values),
    many: () => wasm.many(...values),
    none: () => wasm.many().every((value) => value === 0),
    nested: () => wasm.many(...wasm.many(...values)),
    applied: () => Reflect.apply(wasm.one, undefined, { length: 100_000, 0: 3 }),
    exception: () => new W.Exception(tag, values.slice(0, 1000)).getArg(tag, 999),
    'an exception of too many': () => new W.Exception(tag, values),
  })
})

check('a table that is emptied, refilled and grown under an iteration and under the function that runs', (W, { link }) => {
  let work = () => {}
  const { t, call } = link(
    `${CALLER} (table (export "t") 4 funcref) (elem (i32.const 0) 1 1 0 1) (type $t (func (param i32) (result i32)))
    (func (export "indirect") (param i32) (result i32) (call_indirect (type $t) (i32.const 5) (local.get 0)))`,
    { e: { f: (x) => (work(), x + 1) } }
  )
  const seen = []
  work = () => {
    for (let index = 0; index < t.length; index++) t.set(index, null)
    collect()
    if (t.length < 8) t.grow(1, call)
  }
  function* entries() {
    for (let index = 0; index < t.length; index++) yield t.get(index)
  }
  for (const entry of entries()) seen.push(entry === null ? null : entry(1))
  return [seen, t.length, call === t.get(t.length - 1), call(4)]
})

check('a table of an instance takes undefined as one of JavaScript does', (W, { all, link }) => {
  const { t } = link('(table (export "t") 1 funcref)')
  return all({ grow: () => t.grow(1, undefined), set: () => t.set(0, undefined), nothing: () => [t.set(0), t.grow(1), t.get(0)] })
})

check('a function that removes itself and all that leads to it, while it runs', (W, { link }) => {
  const table = new W.Table({ element: 'anyfunc', initial: 1 })
  ;(() => {
    const own = link(CALLER, { e: { f: (x) => (table.set(0, null), collect(), x + 1) } })
    table.set(0, own.call)
  })()
  const caller = link(
    `(import "e" "t" (table 1 funcref)) (type $t (func (param i32) (result i32)))
    (func (export "run") (result i32) (call_indirect (type $t) (i32.const 41) (i32.const 0)))`,
    { e: { t: table } }
  )
  const outcome = caller.run()
  collect()
  return [outcome, table.get(0)]
})

check('functions, tables, globals and memories of instances that are gone', async (W, { link, module }) => {
  const compiled = module(
    `${CALLER} (memory (export "m") 1) (global (export "g") (mut i32) (i32.const 6)) (table (export "t") 1 funcref) (elem (i32.const 0) 1)`
  )
  const kept = Array.from({ length: 24 }, (_, index) => {
    const { exports } = new W.Instance(compiled, { e: { f: (x) => x + index } })
    return exports[['call', 'm', 'g', 't'][index % 4]]
  })
  collect()
  await new Promise(setImmediate)
  collect()
  const forwarded = link(CALLER, { e: { f: kept[4] } })
  return [kept[0](1), kept[4](1), forwarded.call(1), kept[1].grow(1), ++kept[2].value, kept[3].get(0)(1)]
})

check('instances in a circle, dropped while one of them runs', async (W, { module }) => {
  const compiled = module(CALLER)
  const table = new W.Table({ element: 'anyfunc', initial: 3 })
  const round = () => {
    const ring = []
    for (let index = 0; index < 3; index++) {
      const f =
        index === 0
          ? (x) => (x > 20 ? (ring.splice(0), table.set(0, null), collect(), x) : ring.at(-1).call(x + 1))
          : ring[index - 1].call
      ring.push(new W.Instance(compiled, { e: { f } }).exports)
      table.set(index, ring[index].call)
    }
    return ring[2].call(0)
  }
  const outcomes = []
  for (let index = 0; index < 20; index++) {
    outcomes.push(round())
    await new Promise(setImmediate)
  }
  return outcomes
})

check('instances that are made in start functions', (W, { all, module }) => {
  const compiled = module('(import "e" "f" (func $f)) (memory (export "m") 1) (start $f)')
  const nest = (depth, end) => new W.Instance(compiled, { e: { f: () => (depth === 0 ? end() : nest(depth - 1, end)) } })
  return all({
    deep: () => nest(30, collect).exports.m.buffer,
    throws: () =>
      nest(30, () => {
        throw new EvalError('end')
      }),
    overflow: () => {
      const forever = () => new W.Instance(compiled, { e: { f: forever } })
      try {
        return forever()
      } catch (error) {
        return error instanceof RangeError
      }
    },
  })
})

check('everything is cloned and posted inside an import', (W, { link, module }) => {
  const outcomes = []
  const { port1, port2 } = new MessageChannel()
  const wasm = link(`${CALLER} (memory (export "m") 1) (global (export "g") i32 (i32.const 1)) (table (export "t") 1 funcref)`, {
    e: {
      f: (x) => {
        const shared = new W.Memory({ initial: 1, maximum: 1, shared: true })
        const values = [
          module(CALLER),
          wasm.m,
          shared,
          shared.buffer,
          wasm.m.buffer,
          wasm.g,
          wasm.t,
          wasm.call,
          wasm,
          new W.Tag({ parameters: [] }),
          new W.RuntimeError('x'),
        ]
        for (const value of values) {
          for (const send of [(message) => structuredClone(message), (message) => port1.postMessage(message)]) {
            try {
              const clone = send(value)
              outcomes.push(clone instanceof W.Module ? 'Module' : clone instanceof W.Memory ? 'Memory' : typeof clone)
            } catch (error) {
              outcomes.push(error.name)
            }
          }
        }
        collect()
        return x
      },
    },
  })
  const outcome = wasm.call(2)
  port1.close()
  port2.close()
  return [outcome, outcomes]
})

// ── Both engines ────────────────────────────────────────────────────────────────────────────────────────────────────

// A `try` of the older proposal: the built-in engine's, under install().
const FOREIGN = `(import "e" "f" (func $f (param i32) (result i32)))
  (func (export "call") (param i32) (result i32) (call $f (local.get 0)))
  (func (export "guarded") (param i32) (result i32) (try (result i32) (do (call $f (local.get 0))) (catch_all (i32.const -1))))`

check('functions of both engines that call each other, throw through each other and fill the stack', (W, { link }) => {
  const outcomes = []
  let end = () => 0
  const ours = link(CALLER, { e: { f: (x) => (x === 0 ? end() : theirs.call(x - 1)) } })
  const theirs = link(FOREIGN, { e: { f: ours.call } })
  const attempt = (call) => {
    try {
      outcomes.push(call())
    } catch (error) {
      outcomes.push(error instanceof RangeError ? 'RangeError' : error)
    }
  }
  const error = new EvalError('thrown')
  for (const last of [
    () => 5,
    () => (collect(), 6),
    () => {
      throw error
    },
    () => {
      throw null
    },
    () => ours.call(2 ** 20),
  ]) {
    end = last
    attempt(() => ours.call(9))
    attempt(() => theirs.call(9))
    // An overflow is caught or not, as deep as the stack happens to be.
    if (last !== end || outcomes.at(-1) !== 'RangeError') attempt(() => theirs.guarded(9))
  }
  end = () => 1
  attempt(() => theirs.guarded(3))
  return outcomes
})

check('a memory and a table between both engines', (W, { all, link }) => {
  const memory = new W.Memory({ initial: 1 })
  const ours = link(
    '(import "e" "m" (memory 1)) (import "e" "f" (func $f)) (func (export "run") (param i32) (result i32) (call $f) (i32.load (local.get 0)))',
    { e: { m: memory, f: () => theirs.grow() } }
  )
  const theirs = link(
    `(import "e" "m" (memory 1)) (tag $t)
    (func (export "grow") (drop (memory.grow (i32.const 1))) (i32.store (i32.const 65536) (i32.const 9)) (try (do) (catch_all)))
    (func (export "size") (result i32) (memory.size))`,
    { e: { m: memory } }
  )
  return all({
    grown: () => ours.run(65536),
    end: () => ours.run(4 * 65536),
    size: () => theirs.size(),
    buffer: () => memory.buffer,
  })
})

if (!onBuiltin) {
  test.serial('install() and uninstall() in imports, getters and start functions', (t) => {
    const ours = require('../index.js')
    const compiled = new engine.Module(assemble(`${CALLER} (memory (export "m") 1)`))
    const seen = []
    const toggle = () => {
      ours.uninstall()
      seen.push(globalThis.WebAssembly === engine, new globalThis.WebAssembly.Memory({ initial: 1 }).grow(1))
      collect()
      ours.install()
      ours.install()
      seen.push(globalThis.WebAssembly === engine)
    }
    const { exports } = new engine.Instance(compiled, {
      get e() {
        toggle()
        return {
          get f() {
            toggle()
            return (x) => (toggle(), exports.m.grow(1) + x)
          },
        }
      },
    })
    t.is(exports.call(3), 4)
    t.deepEqual(seen, Array(3).fill([false, 1, true]).flat())
    t.true(exports.m instanceof WebAssembly.Memory)
  })
}

// ── Ends ────────────────────────────────────────────────────────────────────────────────────────────────────────────

const INSTALLED = onBuiltin ? [] : ['--require', path.join(__dirname, '../register.js')]

test('promises that never settle keep no process alive', async (t) => {
  const script = `
    const never = new Promise(() => {})
    WebAssembly.compileStreaming(never).finally(() => console.log('settled'))
    WebAssembly.instantiateStreaming(never, {}).finally(() => console.log('settled'))
    WebAssembly.instantiate(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]), new Proxy({}, {})).then(() => { gc(); console.log('compiled') })
    gc()`
  const { stdout, stderr } = await run(process.execPath, [...INSTALLED, '--expose-gc', '-e', script])
  t.deepEqual([stdout, stderr], ['compiled\n', ''])
})

test('finalizers that call, collect and compile', async (t) => {
  const script = `
    const module = new WebAssembly.Module(Buffer.from('${Buffer.from(assemble(CALLER)).toString('hex')}', 'hex'))
    const make = (f) => new WebAssembly.Instance(module, { e: { f } }).exports.call
    const kept = make((x) => (gc(), x + 1))
    let finalized = 0
    const registry = new FinalizationRegistry((call) => { finalized++; gc(); call(finalized); make(call)(1) })
    const drop = () => { for (let index = 0; index < 50; index++) registry.register(make((x) => x), kept) }
    make((x) => (drop(), gc(), x))(1)
    const wait = () => { gc(); finalized < 40 ? setImmediate(wait) : console.log('finalized') }
    wait()`
  const { stdout, stderr } = await run(process.execPath, [...INSTALLED, '--expose-gc', '-e', script])
  t.deepEqual([stdout, stderr], ['finalized\n', ''])
})

test('workers that are terminated inside imports, start functions and getters', async (t) => {
  const script = `
    const { parentPort, workerData: { install, bytes, place, flag } } = require('node:worker_threads')
    if (install) require(install)
    const module = new WebAssembly.Module(bytes)
    const stay = () => { parentPort.postMessage('here'); Atomics.wait(flag, 0, 0); return 1 }
    const imports = place === 'getter' ? { get e() { stay(); return { f: () => 1 } } } : { e: { f: stay } }
    new WebAssembly.Instance(module, imports).exports.call(1)
    parentPort.postMessage('came through')`
  const places = { import: CALLER, start: `${CALLER} (func $s (drop (call $f (i32.const 1)))) (start $s)`, getter: CALLER }
  for (const [place, text] of Object.entries(places)) {
    const bytes = assemble(text)
    const ended = Array.from(
      { length: 3 },
      () =>
        new Promise((resolve, reject) => {
          const flag = new Int32Array(new SharedArrayBuffer(4))
          const install = onBuiltin ? undefined : path.join(__dirname, '../register.js')
          const worker = new Worker(script, { eval: true, workerData: { install, bytes, place, flag } })
          const told = []
          worker.on('message', (message) => (told.push(message), worker.terminate()))
          worker.on('error', reject)
          worker.on('exit', (code) => resolve([code, told]))
        })
    )
    t.deepEqual(await Promise.all(ended), Array(3).fill([1, ['here']]), place)
  }
})
