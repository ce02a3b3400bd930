'use strict'
// Exceptions in their older form: "Legacy Exception Handling", an addendum to the core specification. The specification's own
// scripts and generated modules are in ../spec.test.js and ../difference.test.js; here is the border to JavaScript.

const test = require('ava')
const { W, builtin, ours } = require('../support/engine.js')
const { caught, throwing, times } = require('../support/exception-modules.js')
const { compileInTiers, tiers } = require('../support/tiers.js')

const texts = {
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
