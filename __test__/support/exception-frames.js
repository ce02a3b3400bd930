'use strict'

// Modules whose functions call each other over instances: a handler, frames that know nothing of exceptions, and what
// throws. Every function holds more values than there are registers that a callee saves, and gives a number that
// depends on all of them, in their order.
//
// A frame takes no parameter, so that its locals are as many as its name says: Singlepass keeps the first ones in such
// registers, the others in memory.

const { times } = require('./exception-modules.js')

const LIVE = 14
const SEED = 0x0123456789abcdefn

const LOCALS = [0, 1, 2, 3, 4, 5, 8, 9, 40, 700]
const DEPTHS = [0, 3, 12]

const i64 = (number) => BigInt.asIntN(64, number)
const rotl = (number) => (number << 7n) | (BigInt.asUintN(64, number) >> 57n)
const range = (length) => Array.from({ length }, (_, k) => k)

const factor = (k) => 2 * k + 3

// (local.set $v<k> …) before what throws, and (local.get $hash) after it.
const live = times(LIVE, (k) => `(local $v${k} i64)`) + ' (local $hash i64)'
const setLive = times(LIVE, (k) => `(local.set $v${k} (i64.mul (local.get $x) (i64.const ${factor(k)})))`)
const hashLive = times(LIVE, (k) => `(local.set $hash (i64.xor (i64.rotl (local.get $hash) (i64.const 7)) (local.get $v${k})))`)

/** What a function's live values give, after it was called with `x`. */
const hash = (x) => range(LIVE).reduce((all, k) => i64(rotl(all) ^ (x * BigInt(factor(k)))), 0n)

const frames = LOCALS.flatMap((locals) => DEPTHS.map((depth) => ({ name: `f${locals}_${depth}`, locals, depth })))

/** Half of them call through a table. */
function frameText({ name, locals, depth }, index) {
  const call = index % 2 ? '(call_indirect (type $t) (i32.const 0))' : '(call $next)'
  return `(func $${name} (export "${name}") (type $t) ${locals ? `(local ${'i64 '.repeat(locals)})` : ''}
    ${times(locals, (k) => `(local.set ${k} (i64.mul (global.get $seed) (i64.const ${factor(k)})))`)}
    ${'(global.get $seed) '.repeat(depth)}
    ${call}
    ${'i64.add '.repeat(depth)}
    ${times(locals, (k) => `(i64.add (local.get ${k}))`)})
    (func (export "twice ${name}") (type $t) (i64.add (i64.const 1) (call $${name})))`
}

/** What a frame makes of what it was returned. */
function through(name, value) {
  const [locals, depth] = name.match(/\d+/g).map(BigInt)
  const twice = name.startsWith('twice') ? 1n : 0n
  return i64(value + depth * SEED + range(Number(locals)).reduce((sum, k) => sum + SEED * BigInt(factor(k)), 0n) + twice)
}

const frameNames = frames.flatMap(({ name }) => [name, `twice ${name}`])

/** What parameters a function with floats has: more than there are registers for, of either kind. */
const FLOATS = ['f64', 'i64', 'f32', ...Array(8).fill('f64'), ...Array(5).fill('i64')]

/** It adds up their bits, and what it was returned; the sum is the bits of a float. */
const bits = { i64: '', f32: 'i64.extend_i32_u i32.reinterpret_f32', f64: 'i64.reinterpret_f64' }
const sum = FLOATS.map((type, k) => {
  const value = bits[type].split(' ').reduceRight((inner, one) => (one === '' ? inner : `(${one} ${inner})`), `(local.get ${k})`)
  return `(i64.add ${value})`
})
const floats = FLOATS.map((type, k) => `(${type}.const ${k})`)

/** What that makes of what it was returned. */
function throughFloats(value) {
  const number = new DataView(new ArrayBuffer(8))
  const bitsOf = {
    i64: (k) => BigInt(k),
    f32: (k) => (number.setFloat32(0, k), BigInt(number.getUint32(0))),
    f64: (k) => (number.setFloat64(0, k), number.getBigUint64(0)),
  }
  return i64(FLOATS.reduce((all, type, k) => all + bitsOf[type](k), value))
}

const texts = {
  handlers: `(type $t (func (result i64))) (import "e" "next" (func $next (type $t))) (import "e" "t" (tag $t (param i64)))
    (func (export "caught") (param $x i64) (result i64 i64) (local $result i64) ${live} ${setLive}
      (block $l (result i64) (try_table (catch $t $l) (return (call $next) (i64.const 0))) unreachable)
      (local.set $result) ${hashLive} (local.get $result) (local.get $hash))
    (func (export "caughtAll") (param $x i64) (result i64) ${live} ${setLive}
      (block $l (try_table (catch_all $l) (return (call $next))) unreachable) ${hashLive} (local.get $hash))`,
  // Catches, looks at its values, and throws again.
  relay: `(type $t (func (result i64))) (import "e" "next" (func $next (type $t)))
    (global $seen (export "seen") (mut i64) (i64.const 0)) (global $x (export "x") (mut i64) (i64.const 0))
    (func (export "relay") (type $t) (local $x i64) (local $e exnref) ${live} (local.set $x (global.get $x)) ${setLive}
      (block $l (result exnref) (try_table (catch_all_ref $l) (return (call $next))) unreachable)
      (local.set $e) ${hashLive} (global.set $seen (local.get $hash)) (throw_ref (local.get $e)))`,
  frames: `(type $t (func (result i64))) (import "e" "next" (func $next (type $t))) (table funcref (elem $next))
    (global $seed i64 (i64.const ${SEED})) ${frames.map(frameText).join('\n')}`,
  floats: `(type $t (func (result i64))) (import "e" "next" (func $next (type $t)))
    (func $inner (param ${FLOATS.join(' ')}) (result f64) (call $next) ${sum.join(' ')} f64.reinterpret_i64)
    (func (export "floats") (type $t) (i64.reinterpret_f64 (call $inner ${floats.join(' ')})))`,
  ends: `(type $t (func (result i64))) (import "e" "t" (tag $t (param i64)))
    (func (export "returns") (type $t) (i64.const 5))
    (func (export "throws") (type $t) (throw $t (i64.const 77)))
    (func (export "traps") (type $t) unreachable)`,
}

module.exports = { frameNames, hash, texts, through, throughFloats }
