'use strict'
// Features of WebAssembly past 1.0: what this Node's own engine runs, we run, with the same result. What we do not have is
// a CompileError and is listed in docs/conformance.md.
// https://webassembly.org/features/

const test = require('ava')
const { assemble, builtin } = require('../support/engine.js')
const { engine, onBuiltin } = require('../support/conformance.js')

const f = (results, body) => `(func (export "f") (result ${results}) ${body})`

/** Name -> text or bytes of a module that exports `f`. */
const FEATURES = {
  'sign extension': f('i32 i64', 'i32.const 0xff i32.extend8_s i64.const 0xffff i64.extend16_s'),
  'saturating conversions': f('i32 i32', 'f64.const 1e20 i32.trunc_sat_f64_s f32.const nan i32.trunc_sat_f32_u'),
  'multi-value blocks': f('i32', 'i32.const 1 i32.const 2 (block (param i32 i32) (result i32 i32) i32.const 3 i32.add) i32.mul'),
  'bulk memory': `(memory 1) (data $d "abc") ${f('i32', '(memory.init $d (i32.const 0) (i32.const 0) (i32.const 3)) (memory.copy (i32.const 8) (i32.const 0) (i32.const 3)) (memory.fill (i32.const 9) (i32.const 1) (i32.const 1)) (i32.load (i32.const 8))')}`,
  'reference types': `(table 2 externref) (func $g) (elem declare func $g) ${f('i32 i32', '(table.set (i32.const 0) (ref.null extern)) (ref.is_null (table.get (i32.const 0))) (ref.is_null (ref.func $g))')}`,
  'fixed-width SIMD': f('i32', '(i32x4.extract_lane 1 (i32x4.mul (v128.const i32x4 1 2 3 4) (i32x4.splat (i32.const 7))))'),
  'relaxed SIMD': f(
    'f32',
    '(f32x4.extract_lane 0 (f32x4.relaxed_madd (v128.const f32x4 2 0 0 0) (v128.const f32x4 3 0 0 0) (v128.const f32x4 4 0 0 0)))'
  ),
  'threads and atomics': `(memory 1 1 shared) ${f('i32', '(drop (i32.atomic.rmw.add (i32.const 0) (i32.const 5))) (i32.atomic.load (i32.const 0))')}`,
  'extended constant expressions': `(global $a i32 (i32.const 40)) (global $g i32 (i32.add (i32.const 40) (i32.const 2))) ${f('i32', 'global.get $g')}`,
  'tail calls': `(func $even (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 1)) (else (return_call $odd (i32.sub (local.get 0) (i32.const 1))))))
    (func $odd (param i32) (result i32) (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0)) (else (return_call $even (i32.sub (local.get 0) (i32.const 1))))))
    ${f('i32', '(call $even (i32.const 100000))')}`,
  'exceptions (try_table)': `(tag $t (param i32)) ${f('i32', '(block $caught (result i32) (try_table (catch $t $caught) (throw $t (i32.const 5))) (i32.const 0))')}`,
  'exceptions (legacy)': `(tag $t (param i32)) ${f('i32', '(try (result i32) (do (throw $t (i32.const 5))) (catch $t))')}`,
  'several memories': `(memory $a 1) (memory $b 2) ${f('i32', '(memory.size $b)')}`,
  memory64: `(memory i64 1) ${f('i64', '(memory.size)')}`,
  // (type (func (result i32))) (type (struct (field i32))) (func (export "f") (struct.get 1 0 (struct.new 1 (i32.const 7))))
  'garbage collection': Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 9, 2, 0x60, 0, 1, 0x7f, 0x5f, 1, 0x7f, 0, 3, 2, 1, 0, 7, 5, 1, 1, 0x66, 0, 0, 10, 13, 1, 11,
    0, 0x41, 7, 0xfb, 0, 1, 0xfb, 2, 1, 0, 0x0b,
  ]),
  // (func (export "f") (result i32) (call_ref 0 (ref.func 1))) (func (result i32) (i32.const 7)) (elem declare func 1)
  'typed function references': Uint8Array.from([
    0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 5, 1, 0x60, 0, 1, 0x7f, 3, 3, 2, 0, 0, 7, 5, 1, 1, 0x66, 0, 0, 9, 5, 1, 3, 0, 1, 1, 10, 13,
    2, 6, 0, 0xd2, 1, 0x14, 0, 0x0b, 4, 0, 0x41, 7, 0x0b,
  ]),
}

/** Absent too. Name -> text of a module that exports `f`, and the options it is compiled with (WebAssemblyCompileOptions). */
const WITH_OPTIONS = {
  'imported string constants': [
    `(import "'" "hello" (global externref)) ${f('externref', 'global.get 0')}`,
    { importedStringConstants: "'" },
  ],
  'JS string builtins': [
    `(import "wasm:js-string" "length" (func $length (param externref) (result i32))) (func (export "f") (param externref) (result i32) (call $length (local.get 0)))`,
    { builtins: ['js-string'] },
  ],
}

const ABSENT = ['tail calls', 'memory64', 'garbage collection', 'typed function references']

function nameOfError(run) {
  try {
    run()
    return undefined
  } catch (error) {
    return error.name
  }
}

function outcome(W, bytes, options) {
  const valid = W.validate(bytes, options)
  try {
    return { valid, result: new W.Instance(new W.Module(bytes, options)).exports.f('four') }
  } catch (error) {
    return { valid, error: error.name }
  }
}

test('reference types of garbage collection in Table and Global', (t) => {
  for (const type of ['anyref', 'eqref', 'i31ref', 'structref', 'arrayref']) {
    for (const make of [(W) => new W.Table({ element: type, initial: 1 }), (W) => new W.Global({ value: type })]) {
      const theirs = nameOfError(() => make(builtin))
      if (onBuiltin) t.true([undefined, 'TypeError'].includes(theirs))
      else {
        t.is(
          nameOfError(() => make(engine)),
          theirs
        )
      }
    }
  }
})

for (const [name, [source, options]] of Object.entries(WITH_OPTIONS)) {
  test(name, (t) => {
    const theirs = outcome(builtin, assemble(source), options)
    if (onBuiltin) t.true('result' in theirs || theirs.error === 'TypeError')
    else t.deepEqual(outcome(engine, assemble(source), options), theirs, 'the fallback is the built-in engine')
  })
}

for (const [name, source] of Object.entries(FEATURES)) {
  test(name, (t) => {
    const bytes = typeof source === 'string' ? assemble(source) : source
    const theirs = outcome(builtin, bytes)
    if (onBuiltin) {
      t.true(theirs.valid ? 'result' in theirs : theirs.error === 'CompileError')
      return
    }
    const ours = outcome(engine, bytes)
    if (ABSENT.includes(name)) {
      const alone = outcome(engine, bytes, { fallback: 'error' })
      t.deepEqual(alone, { valid: false, error: 'CompileError' }, 'a feature that is there needs no entry in ABSENT')
      t.deepEqual(ours, theirs, 'the fallback is the built-in engine')
    } else if (theirs.valid) t.deepEqual(ours, theirs)
    // A feature that this Node has not yet.
    else t.true('result' in ours)
  })
}
