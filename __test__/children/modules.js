'use strict'
// The modules of the stress children, from their text.

const wabt = require('wabt')

/** @returns {Promise<Uint8Array>} the binary of `text`; `names` says whether with a name section */
async function assemble(text, { names = false } = {}) {
  const parsed = (await wabt()).parseWat('stress.wat', text, { exceptions: true, tail_call: true, threads: true })
  try {
    return parsed.toBinary({ write_debug_names: names }).buffer
  } finally {
    parsed.destroy()
  }
}

/** `bytes` with a custom section appended: another module to any cache, the same one to a program. */
function variant(bytes, text) {
  const name = Buffer.from('variant')
  const payload = Buffer.concat([Buffer.of(name.length), name, Buffer.from(text)])
  if (payload.length > 127) throw new RangeError('one byte of length is all this writes')
  return new Uint8Array(Buffer.concat([bytes, Buffer.of(0, payload.length), payload]))
}

/**
 * A chain of `length` functions, each with some arithmetic in i32 and f64, a store and a load; every
 * eighth calls the import, every ninth the next one through the table. Long enough to compile that a
 * thread can be ended in the middle.
 */
function chain(length) {
  const functions = []
  for (let i = 1; i <= length; i++) {
    let body = '(local.set $a (i32.mul (local.get $x) (i32.const 2654435761)))'
    for (let k = 0; k < 24; k++) {
      body += `(local.set $a (i32.xor (i32.rotl (local.get $a) (i32.const ${(i * 7 + k * 3) & 31})) (i32.add (local.get $x) (i32.const ${i * 97 + k}))))`
      body += `(local.set $d (f64.add (f64.mul (local.get $d) (f64.const 0.5)) (f64.convert_i32_s (i32.and (local.get $a) (i32.const 1023)))))`
    }
    body += `(i32.store (i32.const ${i * 4}) (local.get $a))`
    body += `(local.set $a (i32.add (i32.load (i32.const ${i * 4})) (i32.trunc_f64_s (local.get $d))))`
    if (i % 8 === 0) body += '(local.set $a (i32.add (local.get $a) (call $tick (local.get $x))))'
    if (i % 5 === 0) {
      body += `(local.set $a (i32.xor (local.get $a) (i32.trunc_f64_s (call $half (f64.convert_i32_s (i32.and (local.get $a) (i32.const 65535)))))))`
    }
    const next = i % 9 === 0 ? `(call_indirect (type $f) (local.get $a) (i32.const ${i - 1}))` : `(call $f${i - 1} (local.get $a))`
    functions.push(`(func $f${i} (type $f) (param $x i32) (result i32) (local $a i32) (local $d f64) ${body} ${next})`)
  }
  return `(module
    (type $f (func (param i32) (result i32)))
    (import "env" "tick" (func $tick (type $f)))
    (memory (export "memory") 1 8)
    (table (export "table") ${length + 1} funcref)
    (elem (i32.const 0) ${Array.from({ length: length + 1 }, (_, i) => `$f${i}`).join(' ')})
    (func $half (param f64) (result f64) (f64.mul (local.get 0) (f64.const 0.5)))
    (func $f0 (type $f) (param $x i32) (result i32) (i32.add (local.get $x) (i32.const 1)))
    ${functions.join('\n')}
    (func (export "run") (param $n i32) (result i32) (local $a i32)
      (loop $again
        (local.set $a (call $f${length} (i32.xor (local.get $a) (local.get $n))))
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.get $a)))`
}

/** Four functions, a table and two globals, and a memory if asked: what an instance is made of. */
function small({ memory }) {
  return `(module
    (import "env" "self" (func $self (param i32) (result i32)))
    (import "env" "start" (global $start i32))
    ${memory ? '(memory (export "memory") 1 2)' : ''}
    (table (export "table") 3 funcref)
    (elem (i32.const 0) $self $twice)
    (global $count (export "count") (mut i32) (global.get $start))
    (func $twice (export "twice") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))
    (func (export "ask") (param i32) (result i32)
      (global.set $count (i32.add (global.get $count) (i32.const 1)))
      (call $self (local.get 0)))
    (func (export "indirect") (param i32 i32) (result i32)
      (call_indirect (param i32) (result i32) (local.get 0) (local.get 1))))`
}

module.exports = { assemble, variant, chain, small }
