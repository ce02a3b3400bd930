'use strict'
// WebAssembly.Table.

const test = require('ava')
const { W, assemble, instantiate, ours } = require('../support/engine.js')

test('a Table of JavaScript holds functions and null', (t) => {
  const table = new W.Table({ element: 'anyfunc', initial: 2, maximum: 4 })
  const { f } = instantiate('(func (export "f") (result i32) i32.const 3)')
  t.is(table.length, 2)
  t.is(table.get(0), null)
  t.is(table.set(0, f), undefined)
  t.is(table.get(0), f)
  t.is(table.grow(1), 2)
  t.is(table.grow(1, f), 3)
  t.deepEqual([table.get(2), table.get(3)], [null, f])
  t.throws(() => table.grow(1), { instanceOf: RangeError, message: 'WebAssembly.Table.grow(): failed to grow table by 1' })
  t.throws(() => table.get(4), { instanceOf: RangeError })
  t.throws(() => table.set(4, null), { instanceOf: RangeError })
  t.throws(() => table.set(0, () => {}), { instanceOf: TypeError })
  t.throws(() => table.set(0, undefined), { instanceOf: TypeError })
  for (const wrong of [-1, NaN, 'x', 2 ** 32, undefined, Infinity]) t.throws(() => table.get(wrong), { instanceOf: TypeError })
  table.set(0)
  t.is(table.get(0), null)
})

test('Table descriptors are checked', (t) => {
  t.throws(() => new W.Table(), { instanceOf: TypeError })
  t.throws(() => new W.Table({ element: 'i32', initial: 1 }), { instanceOf: TypeError })
  t.throws(() => new W.Table({ element: 'anyfunc' }), { instanceOf: TypeError, message: /'initial' is required/ })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: -1 }), { instanceOf: TypeError })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: 5, maximum: 3 }), { instanceOf: RangeError })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: 10_000_001 }), { instanceOf: RangeError })
  t.throws(() => new W.Table({ element: 'anyfunc', initial: 1 }, () => {}), { instanceOf: TypeError })
  const seen = []
  const descriptor = {
    get maximum() {
      seen.push('maximum')
      return 2
    },
    get initial() {
      seen.push('initial')
      return 1
    },
    get element() {
      seen.push('element')
      return 'externref'
    },
  }
  t.is(new W.Table(descriptor, 5).get(0), 5)
  t.deepEqual(seen, ['element', 'initial', 'maximum'])
})

test('a Table is shared by those who import it', (t) => {
  const table = new W.Table({ element: 'anyfunc', initial: 3 })
  const early = instantiate('(func (export "f") (result i32) i32.const 1)').f
  table.set(0, early)
  const wat = (at, value) => `(import "t" "t" (table 3 funcref)) (type $i (func (result i32)))
    (elem (i32.const ${at}) $f) (func $f (export "f") (result i32) i32.const ${value}) (export "t" (table 0))
    (func (export "call") (param i32) (result i32) local.get 0 call_indirect (type $i))`
  const a = instantiate(wat(1, 10), { t: { t: table } })
  const b = instantiate(wat(2, 20), { t: { t: table } })
  t.is(a.t, table)
  t.is(b.t, table)
  t.deepEqual([a.call(0), a.call(1), a.call(2), b.call(0), b.call(1), b.call(2)], [1, 10, 20, 1, 10, 20])
  t.is(table.get(0), early)
  t.is(table.get(1), a.f)
  t.is(table.get(2), b.f)
  const late = instantiate('(func (export "f") (result i32) i32.const 5)').f
  table.set(0, late)
  t.is(a.call(0), 5)
  t.is(table.get(0), late)
  table.set(1, null)
  t.throws(() => b.call(1), { instanceOf: W.RuntimeError })
  t.is(table.grow(2, b.f), 3)
  t.is(b.call(4), 20)
  t.is(table.length, 5)
})

test('a module’s own table', (t) => {
  const { t1, f, size, grow } = instantiate(`
    (table $t (export "t1") 2 5 funcref) (elem (i32.const 1) $f) (func $f (export "f"))
    (func (export "size") (result i32) table.size $t)
    (func (export "grow") (param i32) (result i32) ref.null func local.get 0 table.grow $t)`)
  t.true(t1 instanceof W.Table)
  t.is(t1.get(0), null)
  t.is(t1.get(1), f)
  t.is(grow(2), 2)
  t.is(t1.length, 4)
  t.is(t1.grow(1, f), 4)
  t.is(size(), 5)
  t.is(grow(1), -1)
  t.throws(() => t1.grow(1), { instanceOf: RangeError })
})

test('a Table of externref', (t) => {
  const object = {}
  const table = new W.Table({ element: 'externref', initial: 2 }, object)
  t.is(table.get(1), object)
  const { get, set } = instantiate(
    `(import "t" "t" (table 1 externref))
     (func (export "get") (param i32) (result externref) local.get 0 table.get 0)
     (func (export "set") (param i32 externref) local.get 0 local.get 1 table.set 0)`,
    { t: { t: table } }
  )
  t.is(get(0), object)
  set(0, 'text')
  t.is(table.get(0), 'text')
  table.set(1, null)
  t.is(get(1), null)
  table.set(1)
  t.is(get(1), undefined)
  for (let i = 0; i < 4000; i++) set(0, { i })
  t.deepEqual(get(0), { i: 3999 })
})

ours('tables of instances that were never linked cannot be mixed', (t) => {
  const wat = '(table (export "t") 1 funcref)'
  const a = instantiate(wat)
  const b = instantiate(wat)
  const mix = () => instantiate('(import "a" "t" (table 1 funcref)) (import "b" "t" (table 1 funcref))', { a, b })
  t.throws(mix, { instanceOf: W.LinkError, message: /Import #1 .*"b".*"t".*Import #0 .*"a".*"t"/ })
})

test('active segments take elements from globals, in the order of the segments', (t) => {
  const exporter = instantiate(`
    (func (export "one") (result i32) (i32.const 1))
    (func (export "two") (result i32) (i32.const 2))`)
  const global = new W.Global({ value: 'anyfunc' }, exporter.one)
  const thing = {}
  const { functions, things } = instantiate(
    `
    (import "m" "two" (func $two (result i32)))
    (import "m" "one" (global $one funcref))
    (import "m" "thing" (global $thing externref))
    (import "m" "offset" (global $offset i32))
    (func $own (result i32) (i32.const 3))
    (table (export "functions") 6 funcref)
    (table (export "things") 2 externref)
    (elem (table 0) (i32.const 0) funcref (item (global.get $one)) (item (global.get $one)) (item (ref.func $two)))
    (elem (table 0) (global.get $offset) func $own $own)
    (elem (table 0) (i32.const 4) funcref (item (ref.null func)) (item (global.get $one)))
    (elem (table 1) (i32.const 1) externref (item (global.get $thing)))`,
    { m: { ...exporter, one: global, thing, offset: 1 } }
  )
  const called = Array.from({ length: 6 }, (_, index) => functions.get(index)?.())
  t.deepEqual(called, [1, 3, 3, undefined, undefined, 1])
  t.is(functions.get(5), exporter.one)
  t.deepEqual([things.get(0), things.get(1)], [null, thing])
})

// V8 13 refuses the module; the specification has the limit hold when the table is made (JS API, 8.2).
ours('a table above the limit is an error of the instance', (t) => {
  const module = new W.Module(assemble('(table 10000001 funcref)'))
  t.throws(() => new W.Instance(module), {
    instanceOf: RangeError,
    message:
      'WebAssembly.Instance(): initial table size (10000001 elements) is larger than implementation limit (10000000 elements)',
  })
})
