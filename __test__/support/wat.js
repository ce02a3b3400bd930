'use strict'
// Small modules for tests of the cache, from their text.

const { assemble } = require('../children/modules.js')

/** A custom section with padded lengths, so that its size is known beforehand. */
function custom(name, contents) {
  const body = Buffer.concat([Buffer.of(name.length), Buffer.from(name), contents])
  const length = [0, 7, 14, 21, 28].map((bits, index) => ((body.length >>> bits) & 127) | (index < 4 ? 128 : 0))
  return Buffer.concat([Buffer.of(0, ...length), body])
}

/** `bytes` with a custom section appended that brings them to `size` bytes. */
function padded(bytes, size) {
  const least = custom('pad', Buffer.alloc(0)).length
  return Buffer.concat([bytes, custom('pad', Buffer.alloc(size - bytes.length - least))])
}

/** (func (export "answer") (result i32) i32.const `number`). Numbers of one length in LEB128 give modules of one size. */
const answer = (number) => assemble(`(module (func (export "answer") (result i32) (i32.const ${number})))`)

/**
 * A module whose `run` depends on everything an instance is made of: a start function, active and passive data, active,
 * passive and declared elements, globals, an import, a memory that grows.
 */
const machine = () =>
  assemble(`(module
    (type $f (func (param i32) (result i32)))
    (import "env" "tick" (func $tick (type $f)))
    (memory (export "memory") 1 4)
    (data (i32.const 16) "\\01\\02\\03\\04and some text after it, tail")
    (data (i32.const 65532) "last")
    (data $later "passive data")
    (table (export "table") 6 funcref)
    (elem (i32.const 1) $twice $tick)
    (elem $more func $less $twice)
    (elem declare func $less)
    (global $begun (mut i32) (i32.const 5))
    (global $fixed i32 (i32.const -7))
    (func $twice (export "twice") (type $f) (i32.mul (local.get 0) (i32.const 2)))
    (func $less (type $f) (i32.sub (local.get 0) (i32.const 3)))
    (func $begin (global.set $begun (i32.add (global.get $begun) (i32.load (i32.const 16)))))
    (start $begin)
    (func (export "run") (param $x i32) (result i32) (local $sum i32) (local $at i32)
      (memory.init $later (i32.const 100) (i32.const 2) (i32.const 8))
      (memory.copy (i32.const 200) (i32.const 16) (i32.const 48))
      (memory.fill (i32.const 300) (local.get $x) (i32.const 9))
      (table.init $more (i32.const 3) (i32.const 0) (i32.const 2))
      (table.set (i32.const 5) (ref.func $less))
      (local.set $sum (i32.add (global.get $begun) (global.get $fixed)))
      (loop $bytes
        (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 31)) (i32.load8_u (local.get $at))))
        (br_if $bytes (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 400))))
      (local.set $sum (i32.xor (local.get $sum) (i32.load (i32.const 65532))))
      (local.set $at (i32.const 1))
      (loop $calls
        (local.set $sum (i32.add (local.get $sum) (call_indirect (type $f) (local.get $x) (local.get $at))))
        (br_if $calls (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 6))))
      (i32.add (local.get $sum) (memory.grow (i32.const 1)))))`)

/** A module whose `run` gives 1 if a handler sees that the import threw, as `x => x + 1` does for an i64. */
const handler = () =>
  assemble(`(module
    (import "env" "tick" (func $tick (param i64) (result i32)))
    (func (export "run") (param i32) (result i32)
      (block $caught (try_table (catch_all $caught) (drop (call $tick (i64.const 1)))) (return (i32.const 0)))
      (i32.const 1)))`)

module.exports = { answer, custom, handler, machine, padded }
