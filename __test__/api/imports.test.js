'use strict'
// Modules that import many functions, of which each of their own calls few: whatever a function names is where it is in all tiers.

const ava = require('ava')
const { W } = require('../support/engine.js')
const { compileInTiers, tiers } = require('../support/tiers.js')

const COUNT = 24
const LAST = COUNT - 1
const all = (text) => Array.from({ length: COUNT }, (_, index) => text(index)).join('\n')

const text = `
  (type $unary (func (param i32) (result i32)))
  (type $float (func (param f64) (result f64)))
  (import "e" "table" (table $theirs 4 funcref))
  (import "e" "memory" (memory 1 3))
  (import "e" "number" (global $number i32))
  ${all((index) => `(import "e" "f${index}" (func $f${index} (type $unary)))`)}
  (import "e" "half" (func $half (type $float)))
  (import "e" "tag" (tag $tag (param i32)))
  (table $own (export "own") 6 10 funcref)
  (global $count (export "count") (mut i64) (i64.const 5))
  (global $share (mut f64) (f64.const 0.5))
  (tag $other)
  (elem (table $own) (i32.const 0) func $twice $f${LAST})
  (elem declare func $f1 $twice)

  (func $twice (export "twice") (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func (export "callsOwn") (type $unary) (call $twice (call $twice (local.get 0))))
  (func (export "callsFirst") (type $unary) (call $f0 (local.get 0)))
  (func (export "callsLast") (type $unary) (i32.add (call $f${LAST} (local.get 0)) (call $twice (i32.const 1))))
  (func (export "callsHalf") (type $float) (f64.add (call $half (local.get 0)) (global.get $share)))
  (func $scaled (export "scaled") (type $float) (f64.mul (local.get 0) (f64.const 3)))
  (func (export "callsFloats") (type $unary) (i32.trunc_f64_s (call $scaled (f64.convert_i32_s (local.get 0)))))
  (func (export "throughOwn") (type $unary) (call_indirect $own (type $unary) (i32.const 7) (local.get 0)))
  (func (export "throughTheirs") (type $unary) (call_indirect $theirs (type $unary) (i32.const 7) (local.get 0)))
  (func (export "globals") (type $unary)
    (global.set $count (i64.add (global.get $count) (i64.extend_i32_s (local.get 0))))
    (i32.add (global.get $number) (i32.wrap_i64 (global.get $count))))
  (func (export "bytes") (type $unary)
    (i32.store8 offset=3 (local.get 0) (i32.const 200))
    (i32.add (i32.load8_u offset=3 (local.get 0)) (i32.mul (memory.grow (i32.const 1)) (i32.const 1000))))
  (func (export "places") (type $unary)
    (table.set $own (i32.const 2) (ref.func $f1))
    (table.set $theirs (i32.const 3) (ref.func $twice))
    (table.set $own (i32.const 3) (table.get $theirs (i32.const 3)))
    (drop (table.grow $own (ref.null func) (i32.const 1)))
    (table.fill $own (i32.const 5) (ref.func $twice) (i32.const 2))
    (table.copy $own $own (i32.const 4) (i32.const 0) (i32.const 1))
    (i32.add
      (i32.add (call_indirect $own (type $unary) (local.get 0) (i32.const 2))
        (call_indirect $own (type $unary) (local.get 0) (i32.const 3)))
      (i32.add (table.size $own) (i32.mul (table.size $theirs) (i32.const 100)))))
  (func (export "catches") (type $unary)
    (try (result i32)
      (do (call $f2 (local.get 0)))
      (catch $tag (i32.const 1000) i32.add)
      (catch_all (i32.const -1))))
  (func (export "catchesThrough") (type $unary)
    (try (result i32)
      (do (call_indirect $theirs (type $unary) (local.get 0) (i32.const 1)))
      (catch $tag (i32.const 2000) i32.add)
      (catch_all (i32.const -1))))
  (func (export "throws") (type $unary) (throw $other) )`

let modules
ava.before(async () => {
  modules = await compileInTiers({ text })
})

/** An instance, whose imported functions add their numbers; the third throws what is odd. */
function instantiate(tier, table = new W.Table({ element: 'anyfunc', initial: 4 })) {
  const tag = new W.Tag({ parameters: ['i32'] })
  const functions = Object.fromEntries(Array.from({ length: COUNT }, (_, index) => [`f${index}`, (value) => value + index]))
  functions.f2 = (value) => {
    if (value % 2) throw new W.Exception(tag, [value])
    if (value < 0) throw new Error('below')
    return value
  }
  const memory = new W.Memory({ initial: 1, maximum: 3 })
  const others = { table, memory, number: 100, half: (value) => value / 2, tag }
  return { memory, exports: new W.Instance(modules[tier].text, { e: { ...functions, ...others } }).exports }
}

for (const tier of tiers) {
  ava(`${tier}: calls of imported and of own functions`, (t) => {
    const { exports: e } = instantiate(tier)
    t.deepEqual([e.callsOwn(3), e.callsFirst(3), e.callsLast(3), e.callsHalf(3), e.callsFloats(3)], [12, 3, 28, 2, 9])
  })

  ava(`${tier}: calls through tables, its own and an imported one`, (t) => {
    const table = new W.Table({ element: 'anyfunc', initial: 4 })
    const { exports: e } = instantiate(tier, table)
    t.deepEqual([e.throughOwn(0), e.throughOwn(1)], [14, 7 + LAST])
    for (const place of [2, 6]) t.throws(() => e.throughOwn(place), { instanceOf: W.RuntimeError })
    t.throws(() => e.throughTheirs(0), { instanceOf: W.RuntimeError })
    table.set(1, e.twice)
    table.set(0, instantiate(tier).exports.callsLast)
    t.deepEqual([e.throughTheirs(1), e.throughTheirs(0)], [14, 7 + LAST + 2])
  })

  ava(`${tier}: globals and memory`, (t) => {
    const { exports: e, memory } = instantiate(tier)
    t.deepEqual([e.globals(1), e.globals(2), e.count.value], [106, 108, 8n])
    t.is(e.bytes(9), 1200)
    t.is(new Uint8Array(memory.buffer)[12], 200)
    t.is(e.bytes(2 * 65_536 - 10), 2200)
    t.throws(() => e.bytes(3 * 65_536), { instanceOf: W.RuntimeError })
  })

  ava(`${tier}: functions in tables, and what tables are told of them`, (t) => {
    const table = new W.Table({ element: 'anyfunc', initial: 4 })
    const { exports: e } = instantiate(tier, table)
    t.is(e.places(5), 6 + 10 + 7 + 400)
    t.is(table.get(3), e.twice)
    t.deepEqual(
      [4, 5, 6].map((place) => e.own.get(place)),
      [e.twice, e.twice, e.twice]
    )
    t.is(e.own.get(2)(5), 6)
  })

  ava(`${tier}: exceptions of imported functions, called and through a table`, (t) => {
    const table = new W.Table({ element: 'anyfunc', initial: 4 })
    const { exports: e } = instantiate(tier, table)
    t.deepEqual([e.catches(4), e.catches(5), e.catches(-4)], [4, 1005, -1])
    table.set(1, e.throws)
    t.is(e.catchesThrough(3), -1)
    table.set(1, e.callsOwn)
    t.is(e.catchesThrough(3), 12)
    try {
      e.throws(0)
      t.fail()
    } catch (error) {
      t.true(error instanceof W.Exception)
    }
  })
}
