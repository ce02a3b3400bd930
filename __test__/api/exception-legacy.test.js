'use strict'
// Exceptions in their older form: "Legacy Exception Handling", an addendum to the core specification. The specification's own
// scripts and generated modules are in ../spec.test.js and ../difference.test.js; here is the border to JavaScript.

const { subscribe, unsubscribe } = require('node:diagnostics_channel')
const test = require('ava')
const { W, assemble, builtin, ours } = require('../support/engine.js')
const { caught, throwing, times } = require('../support/exception-modules.js')
const { compileInTiers, tiers } = require('../support/tiers.js')

const TYPES = ['i32', 'i64', 'f32', 'f64', 'externref', 'funcref']
const INNER = 4

// Of each type: what is given back or, with a flag, thrown, called in every way from within a `try`, with a value below it. Where
// the type is no float, all but what takes one is Singlepass'.
const nothing = (type) => (type.endsWith('ref') ? `(ref.null ${type.slice(0, -3)})` : `(${type}.const 0)`)
const imported = (type) => `
    (type $${type} (func (param ${type} f64 i32 ${type}) (result ${type})))
    (import "e" "f_${type}" (func $imported_${type} (type $${type})))`
const ofType = (type) => `
    (tag $${type} (param ${type}))
    ${['returned', 'thrown', 'result'].map((name) => `(global $${name}_${type} (export "${name}_${type}") (mut ${type}) ${nothing(type)})`).join('')}
    (func $own_${type} (export "own_${type}") (type $${type})
      (if (local.get 2) (then (throw $${type} (local.get 3))))
      (local.get 0))
    (func $plain_${type} (param i32)
      (if (local.get 0) (then (throw $${type} (global.get $thrown_${type}))))
      (global.set $result_${type} (global.get $returned_${type})))
    ${[
      ['plain', `(call $plain_${type} (local.get 0)) (global.get $result_${type})`],
      ['local', `(call $own_${type} (global.get $returned_${type}) (f64.const 0.5) (local.get 0) (global.get $thrown_${type}))`],
      [
        'imported',
        `(call $imported_${type} (global.get $returned_${type}) (f64.const 0.5) (local.get 0) (global.get $thrown_${type}))`,
      ],
      [
        'indirect',
        `(call_indirect (type $${type})
           (global.get $returned_${type}) (f64.const 0.5) (local.get 0) (global.get $thrown_${type}) (local.get 1))`,
      ],
    ]
      .map(
        ([how, call]) => `
    (func (export "${how}_${type}") (param i32 i32) (result i64 i32) (local i32)
      (i64.const 1234567890123)
      (try (result ${type})
        (do ${call})
        (catch $${type} (local.set 2 (i32.const 1)))
        (catch_all (local.set 2 (i32.const 2)) (global.get $returned_${type})))
      (global.set $result_${type})
      (local.get 2))`
      )
      .join('')}`

const texts = {
  types: `${TYPES.map(imported).join('')} (table ${TYPES.length} funcref)
    ${TYPES.map(ofType).join('')}
    (elem (i32.const 0) func ${TYPES.map((type) => `$own_${type}`).join(' ')})`,
  // Out of handlers, bodies and what is delegated, by branches of every kind; a handler in a handler throws what the outer one has.
  ways: `(import "e" "f" (func $f)) (import "e" "t" (tag $t (param i32))) (import "e" "u" (tag $u))
    (func (export "branch") (param i32) (result i32)
      (block $two (block $one (block $zero
        (try
          (do (loop $again
            (call $f)
            (br_table $zero $one $two $again (local.get 0))))
          (catch $t
            (br_table $zero $one $two (i32.sub (i32.const 4))))
          (catch_all
            (block (br_if $two (i32.eqz (local.get 0)))) (return (i32.const 9)))))
        (return (i32.const 0))) (return (i32.const 1))) (i32.const 2))
    (func $mixed (param f32 i32 f32 i32))
    (func (export "inner") (param i32) (result i32) (local $turns i32)
      (try $outer (result i32)
        (do (call $f) (i32.const -1))
        (catch $t
          (try (result i32)
            (do
              (loop $l
                (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
                (try (do (throw $u)) (catch $u))
                (br_if $l (i32.lt_u (local.get $turns) (i32.const ${INNER}))))
              (call $mixed (f32.const 1) (local.get 0) (f32.const 2) (i32.const 3))
              (if (local.get 0) (then (rethrow $outer)))
              (try (do (call $f)) (delegate 0))
              (i32.const -2))
            (catch $t (i32.add (local.get $turns)))
            (catch_all (i32.const -3)))
          (i32.add))))`,
  handlers: `(import "e" "f" (func $f)) (import "e" "t" (tag $t (param i32 externref)))
    (func (export "catch") (result i32 externref)
      (try (result i32 externref) (do (call $f) (i32.const 0) (ref.null extern)) (catch $t)))
    (func (export "catchAll") (result i32) (try (result i32) (do (call $f) (i32.const 0)) (catch_all (i32.const 1))))
    (func (export "again") (try (do (call $f)) (catch $t (drop) (drop) (rethrow 0)) (catch_all (rethrow 0))))
    (func (export "outer")
      (try (do (call $f))
        (catch_all
          (block (try (do (throw $t (i32.const 1) (ref.null extern))) (catch_all (rethrow 2)))))))
    (func (export "skipped") (result i32)
      (try (result i32)
        (do (try (result i32)
          (do (try (result i32) (do (call $f) (i32.const 0)) (delegate 1)))
          (catch_all (i32.const 1))))
        (catch_all (i32.const 2))))
    (func (export "outside") (result i32)
      (try (result i32) (do (try (result i32) (do (call $f) (i32.const 0)) (delegate 1))) (catch_all (i32.const 1))))`,
  frames: `(import "e" "f" (func $f (param i64) (result i64))) (import "e" "t" (tag $t (param i64)))
    (func $deep (param i64 i32) (result i64)
      (if (result i64) (local.get 1)
        (then (i64.add (call $deep (local.get 0) (i32.sub (local.get 1) (i32.const 1))) (i64.const 1)))
        (else (call $f (local.get 0)))))
    (func (export "run") (param i64 i32) (result i64)
      ${times(20, (k) => `(local $i${k} i64) (local $d${k} f64)`)}
      ${times(20, (k) => `(local.set $i${k} (i64.mul (local.get 0) (i64.const ${k + 3})))`)}
      ${times(20, (k) => `(local.set $d${k} (f64.convert_i64_s (local.get $i${k})))`)}
      (i64.const 1000000)
      (try (result i64) (do (call $deep (local.get 0) (local.get 1))) (catch $t (i64.mul (i64.const 2))))
      ${times(20, (k) => `(i64.add (local.get $i${k})) (i64.add (i64.trunc_f64_s (local.get $d${k})))`)}
      (i64.add))`,
  // As setjmp and longjmp are made of exceptions: the jump is for whoever knows its buffer.
  jumps: `(import "e" "between" (func $between (param i32))) (import "e" "longjmp" (tag $longjmp (param i32 i32)))
    (func $longjmp (export "longjmp") (param i32 i32) (throw $longjmp (local.get 0) (local.get 1)))
    (func $setjmp (export "setjmp") (param $buffer i32) (param $to i32) (param $value i32) (result i32)
      (local $turn i32) (local $caught i32)
      (loop $again (result i32)
        (try (result i32)
          (do
            (if (local.get $caught) (then (return (i32.add (local.get $caught) (local.get $turn)))))
            (call $between (local.get $buffer))
            (call $longjmp (local.get $to) (local.get $value))
            (i32.const -1))
          (catch $longjmp
            (local.set $caught)
            (if (i32.ne (local.get $buffer)) (then (rethrow 1)))
            (local.set $turn (i32.add (local.get $turn) (i32.const 100)))
            (br $again)))))`,
  // As C++ and Rust unwind: each frame has something to drop, on whichever way it is left.
  unwinds: `(import "e" "call" (func $call (param i32))) (import "e" "t" (tag $t (param i32)))
    (global $dropped (export "dropped") (mut i32) (i32.const 0))
    (func $drop (global.set $dropped (i32.add (global.get $dropped) (i32.const 1))))
    (func $frame (export "frame") (param i32)
      (try (do
        (if (local.get 0)
          (then (call $frame (i32.sub (local.get 0) (i32.const 1))))
          (else (call $call (i32.const 7)))))
        (catch_all (call $drop) (rethrow 0)))
      (call $drop))
    (func (export "throw") (param i32) (throw $t (local.get 0)))
    (func (export "try") (param i32) (result i32)
      (try (result i32) (do (call $frame (local.get 0)) (i32.const -1)) (catch $t)))`,
  traps: `(import "e" "f" (func $f))
    (func (export "unreachable") unreachable)
    (func $down (export "down") (call $down) (call $f))
    (func (export "catchAll") (result i32) (try (result i32) (do (call $f) (i32.const 0)) (catch_all (i32.const 1))))
    (func (export "own") (result i32) (try (result i32) (do unreachable) (catch_all (i32.const 1))))`,
}

let modules
test.before(async () => {
  modules = await compileInTiers(texts)
})

for (const tier of tiers) {
  const start = (name, imports = {}) => new W.Instance(modules[tier][name], { e: imports }).exports
  const here = (title, body) => test(`${tier}: ${title}`, body)
  const late = () => {
    const f = (...values) => f.body(...values)
    return f
  }

  here('an Exception is caught by its tag and by catch_all, and is the same object when it is thrown again', (t) => {
    const f = late()
    const tag = new W.Tag({ parameters: ['i32', 'externref'] })
    const exported = start('handlers', { f, t: tag })
    const object = {}
    const exception = new W.Exception(tag, [5, object])
    const other = new W.Exception(new W.Tag({ parameters: [] }), [])
    f.body = throwing(exception)
    t.deepEqual(exported.catch(), [5, object])
    f.body = throwing(other)
    t.is(caught(() => exported.catch())?.error, other)
    for (const one of [exception, other]) {
      one.mark = {}
      f.body = throwing(one)
      t.is(exported.catchAll(), 1)
      t.is(caught(exported.again)?.error, one)
      t.is(caught(exported.outer)?.error, one, 'the outer one, from within the handler of another')
      t.is(exported.skipped(), 2, 'delegated over a handler')
      t.is(caught(exported.outside)?.error, one, 'delegated out of the function')
    }
    f.body = () => {}
    t.deepEqual(exported.catch(), [0, null])
    t.deepEqual([exported.catchAll(), exported.skipped(), exported.outside()], [0, 0, 0])
  })

  here('values of every type are as they were, given back or thrown, however a function is called', (t) => {
    const values = {
      i32: [1, -2],
      i64: [1n << 40n, -(1n << 62n)],
      f32: [1.5, Math.fround(-1e30)],
      f64: [Math.PI, -1e300],
      externref: [{}, Symbol('thrown')],
    }
    const imports = {}
    for (const type of TYPES) imports[`f_${type}`] = (...args) => imports[`f_${type}`].body(...args)
    const exported = start('types', imports)
    values.funcref = [exported.own_i32, exported.own_f64]
    for (const [index, type] of TYPES.entries()) {
      imports[`f_${type}`].body = exported[`own_${type}`]
      const [returned, thrown] = values[type]
      exported[`returned_${type}`].value = returned
      exported[`thrown_${type}`].value = thrown
      const call = (how, flag, place = index) => [...exported[`${how}_${type}`](flag, place), exported[`result_${type}`].value]
      for (const how of ['plain', 'local', 'imported', 'indirect']) {
        t.deepEqual(call(how, 0), [1234567890123n, 0, returned], `${how}, ${type}`)
        t.deepEqual(call(how, 1), [1234567890123n, 1, thrown], `${how}, ${type}`)
      }
      imports[`f_${type}`].body = throwing(new Error('another'))
      t.deepEqual(call('imported', 0), [1234567890123n, 2, returned])
      t.throws(() => call('indirect', 0, index === 0 ? 1 : 0), { instanceOf: W.RuntimeError }, 'a trap')
    }
  })

  here(
    'branches lead out of bodies and handlers, and an exception is what its handler has, whatever others have meanwhile',
    (t) => {
      const f = late()
      const [tag, u] = [new W.Tag({ parameters: ['i32'] }), new W.Tag({ parameters: [] })]
      const { branch, inner } = start('ways', { f, t: tag, u })
      const carrying = (value) => new W.Exception(tag, [value])
      f.body = () => {}
      t.deepEqual([0, 1, 2].map(branch), [0, 1, 2])
      t.is(inner(0), -1)
      for (const [value, end] of [4, 5, 6].entries()) {
        f.body = throwing(carrying(end))
        t.is(branch(0), value)
      }
      f.body = throwing(new W.Exception(u, []))
      t.deepEqual([branch(0), branch(1)], [2, 9])
      let turns = 0
      f.body = () => {
        if (turns++ === 3) throw carrying(100)
      }
      t.is(branch(3), 2, 'at the third turn of a loop')
      f.body = throwing(carrying(1000))
      // Its own value, and that of the one that was thrown again; or of the next.
      t.is(inner(1), 2000 + INNER)
      let calls = 0
      f.body = () => {
        throw carrying(++calls)
      }
      t.is(inner(0), 3 + INNER)
      f.body = () => {
        throw calls++ === 2 ? carrying(5) : new W.Exception(u, [])
      }
      t.is(inner(0), 2)
    }
  )

  here('JavaScript values are caught by catch_all only, and leave as they are', (t) => {
    const f = late()
    const exported = start('handlers', { f, t: new W.Tag({ parameters: ['i32', 'externref'] }) })
    // V8 11 makes a trap of null where no clause matches.
    const values = W === builtin ? [] : [null]
    for (const value of [...values, new Error('x'), undefined, 0, Number.NaN, 1n, 'text', Symbol('s'), {}, () => {}]) {
      f.body = throwing(value)
      t.is(exported.catchAll(), 1)
      t.is(exported.skipped(), 2)
      for (const name of ['catch', 'again', 'outer', 'outside']) t.is(caught(exported[name])?.error, value, name)
    }
  })

  here('a handler finds the values of its function as they were, those on the stack below it, too', (t) => {
    const tag = new W.Tag({ parameters: ['i64'] })
    const f = (x) => {
      if (x < 0n) throw new W.Exception(tag, [x - 1n])
      return x
    }
    const { run } = start('frames', { f, t: tag })
    const sum = (x) => 1000000n + 2n * Array.from({ length: 20 }, (_, k) => x * BigInt(k + 3)).reduce((a, b) => a + b)
    for (const depth of [0, 1, 10, 500]) {
      t.is(run(9n, depth), sum(9n) + 9n + BigInt(depth))
      t.is(run(-9n, depth), sum(-9n) + 2n * -10n)
    }
  })

  here('jumps find the frame that they are for, through others and through JavaScript', (t) => {
    const longjmp = new W.Tag({ parameters: ['i32', 'i32'] })
    const between = late()
    const exported = start('jumps', { between, longjmp })
    between.body = () => {}
    t.is(exported.setjmp(1, 1, 5), 105)
    t.true(caught(() => exported.setjmp(1, 2, 5))?.error.is(longjmp))
    // The inner frame jumps to the outer one.
    between.body = (buffer) => {
      if (buffer === 1) exported.setjmp(2, 1, 7)
    }
    t.is(exported.setjmp(1, 9, 9), 107)
    const [one, two] = [late(), late()]
    const inner = start('jumps', { between: two, longjmp })
    const outer = start('jumps', { between: one, longjmp })
    one.body = () => inner.setjmp(2, 1, 3)
    two.body = () => {}
    t.is(outer.setjmp(1, 9, 9), 103, 'of another instance')
  })

  here('every frame on the way is left once, whatever it is left with', (t) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const call = late()
    const exported = start('unwinds', { call, t: tag })
    const dropping = (count, act) => {
      const before = exported.dropped.value
      const result = act()
      t.is(exported.dropped.value - before, count)
      return result
    }
    call.body = () => {}
    dropping(4, () => t.is(exported.try(3), -1))
    call.body = (value) => exported.throw(value)
    dropping(4, () => t.is(exported.try(3), 7))
    // Through JavaScript that has a handler of its own.
    let levels = 5
    call.body = (value) => {
      try {
        if (levels-- > 0) exported.frame(2)
        else exported.throw(value)
      } finally {
        call.passed = true
      }
    }
    dropping(4 + 5 * 3, () => t.is(exported.try(3), 7))
    const value = {}
    call.body = throwing(value)
    dropping(4, () => t.is(caught(() => exported.try(3))?.error, value))
  })

  here('neither a trap nor a full stack is caught', (t) => {
    const f = late()
    const { unreachable, down, catchAll, own } = start('traps', { f })
    t.true(caught(own)?.error instanceof W.RuntimeError)
    f.body = unreachable
    const { error } = caught(catchAll)
    t.true(error instanceof W.RuntimeError)
    f.body = throwing(error)
    t.is(caught(catchAll)?.error, error)
    f.body = down
    t.true(caught(catchAll)?.error instanceof RangeError)
    f.body = throwing(new W.RuntimeError('unreachable'))
    t.is(catchAll(), 1)
  })
}

ours('what throws and catches is compiled by the fast one of the baseline compilers', async (t) => {
  // But what takes floats: the two bytes of $mixed.
  for (const [name, rest] of Object.entries({ ways: 2, unwinds: 0 })) {
    const bytes = assemble(texts[name])
    const compiled = []
    const listener = (event) => event.bytes === bytes.length && compiled.push(event.craneliftBytes)
    subscribe('wasm-compile-cache:baselineReady', listener)
    await W.compile(bytes, { optimize: false, cache: false, baseline: 'eager' })
    unsubscribe('wasm-compile-cache:baselineReady', listener)
    // Without Singlepass, there is nothing to tell apart.
    t.is(compiled.length, 1, name)
    t.true(compiled[0] <= rest, name)
  }
})

// (func try end) and (func try_table end)
const BOTH = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 3, 2, 0, 0, 10, 14, 2],
  ...[5, 0, 0x06, 0x40, 0x0b, 0x0b, 6, 0, 0x1f, 0x40, 0, 0x0b, 0x0b]
)

ours("a module with both forms is refused, or is the built-in's affair", (t) => {
  const refusal = { instanceOf: W.CompileError, code: 'ERR_WASM_UNSUPPORTED', message: /legacy and new exception handling/ }
  t.throws(() => new W.Module(BOTH), refusal)
  t.false(W.validate(BOTH))
  const made = caught(() => t.is(W.Module.tier(new W.Module(BOTH, { fallback: 'builtin' })), 'builtin'))
  t.is(made === undefined, builtin.validate(BOTH))
})

ours('a function whose delegates meet too many handlers each is refused, and one with some is not', (t) => {
  const leb128 = (number) => [(number & 0x7f) | 0x80, ((number >> 7) & 0x7f) | 0x80, number >> 14]
  const repeat = (count, ...bytes) => new Array(count).fill(bytes).flat()
  const nested = (count) => {
    // As many as there are tries with catch_all around each other delegate in the innermost.
    const body = [0, ...repeat(count, 0x06, 0x40), ...repeat(count, 0x06, 0x40, 0x18, 0), ...repeat(count, 0x19, 0x0b), 0x0b]
    const code = [1, ...leb128(body.length), ...body]
    const bytes = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, ...leb128(code.length), ...code]
    return Uint8Array.from(bytes)
  }
  t.throws(() => new W.Module(nested(3000)), { code: 'ERR_WASM_UNSUPPORTED', message: /so many handlers/ })
  t.notThrows(() => new W.Module(nested(100)))
})
