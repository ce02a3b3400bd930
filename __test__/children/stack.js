'use strict'
// Provokes errors in wasm and prints their stacks. argv: builtin, or the tier that is to run.

const { assemble } = require('./modules.js')

const tier = process.argv[2]
const W = tier === 'builtin' ? WebAssembly : require('../../index.js')

const isBaseline = ['baseline', 'lazy'].includes(tier)
const options = { minSize: 0, optimize: !isBaseline, baseline: tier === 'lazy' ? 'lazy' : 'eager' }

async function compile(text) {
  const module = new W.Module(await assemble(text, { names: !text.includes(';; nameless') }), options)
  if (tier === 'optimized') await W.Module.optimized(module)
  if (tier !== 'builtin' && W.Module.tier(module) !== (isBaseline ? 'baseline' : 'optimized')) {
    throw new Error(`this is the ${W.Module.tier(module)} tier`)
  }
  return module
}

const instantiate = (module, imports) => new W.Instance(module, imports).exports

const caught = (action) => {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

const call = (text, { name = 'f', f = () => {}, seen = (error) => error.stack } = {}) =>
  compile(text).then((module) => seen(caught(() => instantiate(module, { m: { f } })[name]())))

const CHAIN = `
  (import "m" "f" (func $imported))
  (table 1 funcref) (elem (i32.const 0) $inner)
  (func $inner (nop) (unreachable))
  (func $middle (export "middle") (call_indirect (i32.const 0)))
  (func (export "outer") (nop) (call $middle))
  (func $odd.name<T>::x (export "odd") (nop) (call $imported) (call $imported))
  (func $deep (export "deep") (param i32)
    (if (local.get 0) (then (call $deep (i32.sub (local.get 0) (i32.const 1))) (return)))
    (call $imported))
  (export "again" (func $imported))`

function throwing() {
  throw new TypeError('of the program')
}

/** More imports than a donor declares that does not call them. */
const BESIDE = '(import "m" "f" (func))'.repeat(100)

const FLOATS = `
  (type $unary (func (param f64) (result f32)))
  (table 2 funcref) (elem (i32.const 0) $middle)
  (func $inner (param f64) (result f32) (nop) (unreachable))
  (func $middle (nop) (drop (call $inner (f64.const 1))))
  (func (export "direct") (nop) (call $middle))
  (func (export "empty") (nop) (drop (call_indirect (type $unary) (f64.const 1) (i32.const 1))))
  (func (export "other") (nop) (drop (call_indirect (type $unary) (f64.const 1) (i32.const 0))))
  (func (export "outside") (nop) (drop (call_indirect (type $unary) (f64.const 1) (i32.const 2))))`

const LEGACY = `
  (import "m" "f" (func $imported))
  (tag $t (param i32))
  (table 1 funcref)
  (func $plain (nop) (unreachable))
  (func $thrower (nop) (throw $t (i32.const 1)))
  (func $traps (param i32)
    (nop)
    (if (i32.eq (local.get 0) (i32.const 0)) (then (unreachable)))
    (try (do
        (if (i32.eq (local.get 0) (i32.const 6)) (then (call $plain)))
        (if (i32.eq (local.get 0) (i32.const 7)) (then (call_indirect (i32.const 0))))
        (if (i32.eq (local.get 0) (i32.const 8)) (then (call $imported)))
        (try (do (if (i32.eq (local.get 0) (i32.const 1)) (then (unreachable))) (call $thrower)) (delegate 0))
        (nop))
      (catch $t
        (drop)
        (if (i32.eq (local.get 0) (i32.const 2)) (then (call $plain)))
        (try (do (call $thrower))
          (catch $t (drop) (if (i32.eq (local.get 0) (i32.const 3)) (then (unreachable))))
          (catch_all (rethrow 0))))
      (catch_all (rethrow 0)))
    (if (i32.eq (local.get 0) (i32.const 4)) (then (unreachable)))
    (call $imported))
  (func (export "behind") (nop) (call $plain))
  (func (export "run") (param i32) (nop) (call $traps (local.get 0)))`

async function older(text) {
  const { run, behind } = instantiate(await compile(text), { m: { f: throwing } })
  return [0, 1, 2, 3, 4, 5, 6, 7, 8].map((where) => caught(() => run(where)).stack).concat(caught(behind).stack)
}

const cases = {
  'exceptions in their older form': () => older(`(module ${LEGACY})`),
  'exceptions beside many imports': () => older(`(module ${BESIDE} ${LEGACY})`),
  'functions beside many imports': () => call(`(module ${BESIDE} ${CHAIN})`, { name: 'outer' }),
  'calls beside many imports': () => call(`(module $mod ${BESIDE} ${CHAIN})`, { name: 'odd', f: throwing }),
  'floats beside many imports': () => call(`(module ${BESIDE} ${FLOATS})`, { name: 'direct' }),
  'calls with floats': () => call(`(module ${FLOATS})`, { name: 'direct' }),
  'floats for an empty element': () => call(`(module ${FLOATS})`, { name: 'empty' }),
  'floats for a function without': () => call(`(module ${FLOATS})`, { name: 'other' }),
  'floats for no element': () => call(`(module ${FLOATS})`, { name: 'outside' }),
  trap: () => call(`(module ${CHAIN})`, { name: 'middle' }),
  'a function without a name': () => call(`(module ${CHAIN})`, { name: 'outer' }),
  'a module with a name': () => call(`(module $mod ${CHAIN})`, { name: 'outer' }),
  'no name section': () => call(`(module ${CHAIN}) ;; nameless`, { name: 'outer' }),
  'an import throws': () => call(`(module $mod ${CHAIN})`, { name: 'odd', f: throwing }),
  'an import that is exported': () => call(`(module ${CHAIN})`, { name: 'again', f: throwing }),
  'a limit': () => {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 4
    return call(`(module ${CHAIN})`, { name: 'outer' }).finally(() => (Error.stackTraceLimit = stackTraceLimit))
  },
  'many frames': () => {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 100
    const deep = compile(`(module ${CHAIN})`).then(
      (module) => caught(() => instantiate(module, { m: { f: throwing } }).deep(40)).stack
    )
    return deep.finally(() => (Error.stackTraceLimit = stackTraceLimit))
  },
  async 'linked modules'() {
    const first = instantiate(await compile(`(module $first ${CHAIN})`), { m: { f: throwing } })
    const second = instantiate(await compile(`(module $second ${CHAIN})`), { m: { f: first.outer } })
    return caught(second.odd).stack
  },
  async 'wasm in wasm'() {
    const first = instantiate(await compile(`(module $first ${CHAIN})`), { m: { f: throwing } })
    const between = () => first.odd()
    const second = instantiate(await compile(`(module $second ${CHAIN})`), { m: { f: between } })
    return caught(() => second.deep(2)).stack
  },
  async 'caught between two calls'() {
    const first = instantiate(await compile(`(module $first ${CHAIN})`), { m: { f: throwing } })
    let stack
    const between = () => {
      stack = caught(first.outer).stack
    }
    const second = instantiate(await compile(`(module $second ${CHAIN})`), { m: { f: between } })
    second.odd()
    return stack
  },
  'a start function': () => call('(module $mod (func $begin (nop) (unreachable)) (start $begin))'),
  'a start function that is an import': () => call('(module (import "m" "f" (func $begin)) (start $begin))', { f: throwing }),
  async 'an async caller'() {
    const exports = instantiate(await compile(`(module ${CHAIN})`), { m: { f: throwing } })
    async function inner() {
      await null
      exports.odd()
    }
    async function outer() {
      await inner()
    }
    return outer().catch((error) => error.stack)
  },
  'the message at the time of reading': () =>
    call(`(module ${CHAIN})`, {
      name: 'odd',
      f: throwing,
      seen(error) {
        error.message = 'changed since'
        return error.stack
      },
    }),
  'an assigned stack': () =>
    call(`(module ${CHAIN})`, {
      name: 'middle',
      seen(error) {
        error.stack = 'assigned'
        return error.stack
      },
    }),
  'read before it is thrown': () =>
    call(`(module ${CHAIN})`, {
      name: 'odd',
      f() {
        const error = new Error('read')
        if (typeof error.stack === 'string') throw error
      },
    }).then((stack) => stack.split('\n')[0]),
  'no error': () => {
    const thrown = { stack: 'its own' }
    return call(`(module ${CHAIN})`, {
      name: 'odd',
      f() {
        throw thrown
      },
      seen: (error) => [error === thrown, Object.isExtensible(error), error.stack],
    })
  },
  'a getter and a frozen error': async () => {
    let reads = 0
    const own = Object.defineProperty(new Error('x'), 'stack', { get: () => reads++, configurable: true })
    const frozen = Object.freeze(new Error('frozen'))
    for (const thrown of [own, frozen]) {
      const f = () => {
        throw thrown
      }
      const same = await call(`(module ${CHAIN})`, { name: 'odd', f, seen: (error) => error === thrown })
      if (!same) return 'another'
    }
    return reads
  },
  'structured frames': async () => {
    const asked = Object.getOwnPropertyNames(Object.getPrototypeOf(await sites(() => new Error('x').stack)[0]))
    const facts = asked.filter((name) => /^(?:is|get(?!This|Function$))/.test(name) || name === 'toString')
    const module = await compile(`(module $mod ${CHAIN})`)
    const frames = sites(() => caught(() => instantiate(module, { m: { f: throwing } }).outer()).stack)
    return frames.slice(0, 5).map((site) => facts.map((name) => [name, site[name]()]))
  },
  async overflow() {
    const module = await compile('(module (func $r (export "f") (call $r) (call $r)))')
    const error = caught(() => instantiate(module).f())
    const [head, , ...rest] = error.stack.split('\n')
    return [head, error.constructor === RangeError, ...rest]
  },
}

/** What `action` gives while stacks are arrays of frames. */
function sites(action) {
  Error.prepareStackTrace = (_, frames) => frames
  try {
    return action()
  } finally {
    delete Error.prepareStackTrace
  }
}

const F = (body) => `(func $f (export "f") (nop) ${body})`
const TRAPS = {
  unreachable: F('(unreachable)'),
  div: `(global $z (mut i64) (i64.const 0)) ${F('(drop (i64.div_u (i64.const 1) (global.get $z)))')}`,
  rem: `(global $z (mut i32) (i32.const 0)) ${F('(drop (i32.rem_s (i32.const 1) (global.get $z)))')}`,
  'rem of i64': `(global $z (mut i64) (i64.const 0)) ${F('(drop (i64.rem_u (i64.const 1) (global.get $z)))')}`,
  'div unrepresentable': `(global $z (mut i32) (i32.const -1)) ${F('(drop (i32.div_s (i32.const 0x80000000) (global.get $z)))')}`,
  nan: `(global $z (mut f64) (f64.const nan)) ${F('(drop (i32.trunc_f64_s (global.get $z)))')}`,
  'too large a float': `(global $z (mut f32) (f32.const 1e30)) ${F('(drop (i64.trunc_f32_u (global.get $z)))')}`,
  load: `(memory 1) ${F('(drop (i32.load (i32.const 65536)))')}`,
  store: `(memory 1) ${F('(i32.store8 (i32.const 65536) (i32.const 0))')}`,
  'memory.init': `(memory 1) (data "abc") ${F('(memory.init 0 (i32.const 0) (i32.const 2) (i32.const 9))')}`,
  'memory.fill': `(memory 1) ${F('(memory.fill (i32.const 65536) (i32.const 2) (i32.const 9))')}`,
  'memory.copy': `(memory 1) ${F('(memory.copy (i32.const 65536) (i32.const 2) (i32.const 9))')}`,
  'table.get': `(table 1 funcref) ${F('(drop (table.get 0 (i32.const 9)))')}`,
  'table.set': `(table 1 funcref) ${F('(table.set 0 (i32.const 9) (ref.null func))')}`,
  'table.fill': `(table 1 funcref) ${F('(table.fill 0 (i32.const 9) (ref.null func) (i32.const 2))')}`,
  'table.copy': `(table 1 funcref) ${F('(table.copy (i32.const 9) (i32.const 2) (i32.const 3))')}`,
  'table.init': `(table 1 funcref) (elem func $f) ${F('(table.init 0 (i32.const 9) (i32.const 2) (i32.const 3))')}`,
  'an index': `(table 1 funcref) (type $t (func)) ${F('(call_indirect (type $t) (i32.const 3))')}`,
  null: `(table 1 funcref) (type $t (func)) ${F('(call_indirect (type $t) (i32.const 0))')}`,
  'a signature': `(table 1 funcref) (elem (i32.const 0) $f) (type $t (func (param i32))) ${F('(call_indirect (type $t) (i32.const 7) (i32.const 0))')}`,
  unaligned: `(memory 1 1 shared) ${F('(drop (i32.atomic.load (i32.const 1)))')}`,
  'a wait': `(memory 1 1) ${F('(drop (memory.atomic.wait32 (i32.const 0) (i32.const 0) (i64.const 0)))')}`,
  'a notify': `(memory 1 1 shared) ${F('(drop (memory.atomic.notify (i32.const 65536) (i32.const 0)))')}`,
}
for (const [name, text] of Object.entries(TRAPS)) {
  cases[`trap words: ${name}`] = () => call(`(module ${text})`)
  cases[`trap words beside many imports: ${name}`] = () => call(`(module ${BESIDE} ${text})`)
}

// The import's error goes through a handler: uncaught, caught and thrown again, and thrown again by another call.
const HANDLERS = `(module (import "m" "f" (func $f)) (tag $t) (global $kept (mut exnref) (ref.null exn))
  (func (export "uncaught") (nop) (block $l (try_table (catch $t $l) (call $f))))
  (func (export "again") (block $l (result exnref) (try_table (catch_all_ref $l) (call $f)) (return)) (throw_ref))
  (func (export "keep")
    (block $l (result exnref) (try_table (catch_all_ref $l) (call $f)) (return)) (global.set $kept))
  (func (export "throwKept") (throw_ref (global.get $kept)))
  (func (export "trap") (nop) (unreachable))
  (func (export "catchAll") (block $l (try_table (catch_all $l) (call $f)))))`
const HANDLED = {
  uncaught: (exports) => caught(exports.uncaught).stack,
  'thrown again': (exports) => caught(exports.again).stack,
  'thrown again by another call'(exports) {
    exports.keep()
    const error = caught(exports.throwKept)
    return [error === caught(exports.throwKept), error.stack]
  },
  'caught, and seen by JavaScript only'(exports, f) {
    f.thrown = undefined
    exports.catchAll()
    return f.thrown.stack
  },
  'through two instances': (exports, f, other) => caught(other.again).stack,
  'a trap passes'(exports, f) {
    f.body = exports.trap
    return caught(exports.catchAll)?.stack
  },
}

async function addHandled() {
  const bytes = await assemble(HANDLERS)
  // Some built-in engines have no exnref: nothing to compare with.
  if (tier === 'builtin' && !W.validate(bytes)) return
  const module = await compile(HANDLERS)
  for (const [name, run] of Object.entries(HANDLED)) {
    cases[`an exception: ${name}`] = () => {
      const f = { body: throwing, thrown: undefined }
      const imported = () => {
        try {
          f.body()
        } catch (error) {
          f.thrown = error
          throw error
        }
      }
      const exports = instantiate(module, { m: { f: imported } })
      const other = instantiate(module, { m: { f: () => exports.uncaught() } })
      const { stackTraceLimit } = Error
      // Room for the closures of both instances, which V8 counts.
      Error.stackTraceLimit = 20
      const stack = run(exports, f, other)
      Error.stackTraceLimit = stackTraceLimit
      return stack
    }
  }
}

async function main() {
  await addHandled()
  const stacks = {}
  for (const [name, run] of Object.entries(cases)) stacks[name] = await run()
  process.stdout.write(JSON.stringify(stacks))
}

main()
