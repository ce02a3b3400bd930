'use strict'
// The modules of ../api/exception.test.js, by name, and what calls of them come to.

const HANDLERS = `
  (func (export "catch") (result i32) (block $l (try_table (catch $t $l) (call $f)) (return (i32.const 0))) (i32.const 1))
  (func (export "catchAll") (result i32) (block $l (try_table (catch_all $l) (call $f)) (return (i32.const 0))) (i32.const 1))
  (func (export "catchRef") (result i32)
    (block $l (result exnref) (try_table (catch_ref $t $l) (call $f)) (return (i32.const 0))) (global.set $kept) (i32.const 1))
  (func (export "catchAllRef") (result i32)
    (block $l (result exnref) (try_table (catch_all_ref $l) (call $f)) (return (i32.const 0))) (global.set $kept) (i32.const 1))
  (func (export "throwKept") (throw_ref (global.get $kept)))
  (func (export "again")
    (block $l (result exnref) (try_table (catch_all_ref $l) (call $f)) (return)) (throw_ref))`

const SIX = 'i32 i64 f32 f64 externref funcref'
const LIVE = 24
const times = (count, text) => Array.from({ length: count }, (_, k) => text(k)).join(' ')

const texts = {
  handlers: `(import "e" "f" (func $f)) (import "e" "t" (tag $t)) (global $kept (mut exnref) (ref.null exn)) ${HANDLERS}`,
  exporting: `(import "e" "f" (func $f)) (tag $t (export "t")) (global $kept (mut exnref) (ref.null exn)) ${HANDLERS}`,
  payload: `(import "e" "f" (func $f)) (import "e" "t" (tag $t (param ${SIX}))) (func $own (export "own"))
    (func (export "caught") (result ${SIX}) (block $l (result ${SIX}) (try_table (catch $t $l) (call $f)) unreachable))
    (func (export "caughtRef") (result ${SIX})
      (block $l (result ${SIX} exnref) (try_table (catch_ref $t $l) (call $f)) unreachable) drop)
    (func (export "throws") (param ${SIX})
      ${times(6, (k) => `local.get ${k}`)} throw $t)`,
  order: `(import "e" "f" (func $f)) (import "e" "t" (tag $t)) (import "e" "u" (tag $u))
    (func $inner (result i32) (block $a (try_table (catch $t $a) (call $f)) (return (i32.const 0))) (i32.const 1))
    (func (export "nested") (result i32)
      (block $b (try_table (catch $u $b) (return (call $inner))) unreachable) (i32.const 2))
    (func (export "first") (result i32)
      (block $all (block $u (block $t
        (try_table (catch $t $t) (catch $u $u) (catch_all $all) (call $f)) (return (i32.const 0)))
        (return (i32.const 1))) (return (i32.const 2))) (i32.const 3))`,
  traps: `(import "e" "f" (func $f))
    (func (export "unreachable") unreachable)
    (func $down (export "down") (call $down) (call $f))
    (func (export "throwNull") (result i32)
      (block $l (try_table (catch_all $l) (throw_ref (ref.null exn))) unreachable) (i32.const 1))
    (func (export "own") (result i32) (block $l (try_table (catch_all $l) unreachable) unreachable) (i32.const 1))
    (func (export "catchAll") (result i32) (block $l (try_table (catch_all $l) (call $f)) (return (i32.const 0))) (i32.const 1))`,
  frames: `(type $v (func (param i32 f64) (result i32)))
    (import "e" "f" (func $f (type $v))) (import "e" "t" (tag $t (param i32)))
    (table funcref (elem $f $plain $down)) (export "f" (func $f))
    (func $plain (type $v) (call $f (local.get 0) (local.get 1)))
    (func $down (type $v)
      (if (result i32) (i32.eqz (local.get 0)) (then (call $f (i32.const 77) (local.get 1)))
        (else (call_indirect (type $v) (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (i32.const 2)))))
    (func (export "run") (param $entry i32) (param $depth i32) (result i32)
      (block $l (result i32)
        (try_table (catch $t $l)
          (return (call_indirect (type $v) (local.get $depth) (f64.const 2.5) (local.get $entry))))
        unreachable))`,
  plain: `(import "e" "f" (func $f (param i32))) (import "e" "t" (tag $t (param i32)))
    (type $p (func (param i32) (result i32))) (table funcref (elem $calls $callsIndirectly))
    (func $calls (type $p) (call $f (local.get 0)) (i32.const -1))
    (func $callsDirectly (type $p) (i32.add (call $calls (local.get 0)) (i32.const 1)))
    (func $callsIndirectly (type $p) (i32.add (call_indirect (type $p) (local.get 0) (i32.const 0)) (i32.const 1)))
    (func $throws (param i32) (throw $t (local.get 0)))
    (func $callsThrows (type $p) (call $throws (i32.mul (local.get 0) (i32.const 2))) (i32.const -2))
    (func (export "imported") (type $p)
      (block $l (result i32) (try_table (catch $t $l) (return (call $callsDirectly (local.get 0)))) unreachable))
    (func (export "importedIndirectly") (type $p)
      (block $l (result i32)
        (try_table (catch $t $l) (return (call_indirect (type $p) (local.get 0) (i32.const 1)))) unreachable))
    (func (export "thrown") (type $p)
      (block $l (result i32) (try_table (catch $t $l) (return (call $callsThrows (local.get 0)))) unreachable))`,
  wide: `(type $w (func (param f32 i64 f64 i32 externref f32 i32 i64 f64 i32) (result i64 f64 i32 externref f32)))
    (import "e" "f" (func $f (type $w))) (import "e" "t" (tag $t (param i64)))
    (func (export "run") (param $x i32) (result i64)
      ${times(LIVE, (k) => `(local $i${k} i64) (local $d${k} f64)`)}
      ${times(
        LIVE,
        (k) => `(local.set $i${k} (i64.extend_i32_s (i32.mul (local.get $x) (i32.const ${k + 3}))))
        (local.set $d${k} (f64.convert_i32_s (i32.add (local.get $x) (i32.const ${k}))))`
      )}
      (block $l (result i64)
        (try_table (catch $t $l)
          (call $f (f32.const 1) (i64.const 2) (f64.const 3) (i32.const 4) (ref.null extern) (f32.const 5) (i32.const 6)
            (i64.const 7) (f64.const 8) (i32.const 9))
          drop drop drop drop drop)
        unreachable)
      ${times(LIVE, (k) => `(i64.add (i64.add (local.get $i${k})) (i64.trunc_f64_s (local.get $d${k})))`)})`,
  uncaught: `(import "e" "f" (func $f)) (func $own (export "own"))
    (tag $t (export "t") (param ${SIX})) (tag $v (export "v") (param v128 i32)) (tag $x (export "x") (param exnref i32))
    (elem declare func $own) (global $kept (mut exnref) (ref.null exn))
    (func (export "throws") (param externref)
      (throw $t (i32.const -5) (i64.const -6) (f32.const nan) (f64.const -0.5) (local.get 0) (ref.func $own)))
    (func (export "throwsNull")
      (throw $t (i32.const 0) (i64.const 0) (f32.const 0) (f64.const nan) (ref.null extern) (ref.null func)))
    (func (export "throwsVector") (throw $v (v128.const i32x4 1 2 3 4) (i32.const 7)))
    (func $inner (throw $v (v128.const i32x4 5 6 7 8) (i32.const 9)))
    (func (export "throwsReference")
      (throw $x (block $l (result exnref) (try_table (catch_all_ref $l) (call $inner)) unreachable) (i32.const 8)))
    (func (export "lane") (result i32)
      (block $l (result v128 i32) (try_table (catch $v $l) (call $f)) unreachable) drop i32x4.extract_lane 2)
    (func (export "keep")
      (block $l (result exnref) (try_table (catch_all_ref $l) (call $inner)) unreachable) (global.set $kept))
    (func (export "throwKept") (throw_ref (global.get $kept)))`,
  js: `(import "e" "f" (func $f)) (import "e" "js" (tag $js (param externref)))
    (func (export "caught") (result externref) (block $l (result externref) (try_table (catch $js $l) (call $f)) unreachable))
    (func (export "throws") (param externref) (throw $js (local.get 0)))
    (func (export "throwsRef") (param externref)
      (block $l (result exnref)
        (drop (block $m (result externref exnref) (try_table (catch_ref $js $m) (throw $js (local.get 0))) unreachable)
          (br $l)) unreachable) (throw_ref))`,
  held: `(import "e" "f" (func $f (param i32))) (import "e" "t" (tag $t (param i32)))
    (tag $link (param exnref)) (global $kept (mut exnref) (ref.null exn)) (global $linked (mut exnref) (ref.null exn))
    (func $throw (param i32) (throw $t (local.get 0)))
    (func $caught (param i32) (result exnref) (local $e exnref)
      (block $l (result i32 exnref) (try_table (catch_ref $t $l) (call $throw (local.get 0))) unreachable)
      (local.set $e) drop (local.get $e))
    (func $value (param exnref) (result i32)
      (block $l (result i32) (try_table (catch $t $l) (throw_ref (local.get 0))) unreachable))
    (func $churn (export "churn") (param $count i32)
      (loop $next
        (drop (call $caught (i32.const -1)))
        (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
    (func (export "inLocal") (param $count i32) (result i32) (local $e exnref)
      (local.set $e (call $caught (i32.const 11)))
      (call $churn (local.get $count))
      (call $value (local.get $e)))
    (func (export "inGlobal") (param $count i32) (result i32)
      (global.set $kept (call $caught (i32.const 12)))
      (call $churn (local.get $count))
      (call $value (global.get $kept)))
    (func (export "inPayload") (param $count i32) (result i32)
      (global.set $linked
        (block $l (result exnref) (try_table (catch_all_ref $l) (throw $link (call $caught (i32.const 13)))) unreachable))
      (call $churn (local.get $count))
      (call $value (block $l (result exnref) (try_table (catch $link $l) (throw_ref (global.get $linked))) unreachable)))
    (func (export "acrossImport") (param $count i32) (result i32) (local $e exnref)
      (local.set $e (call $caught (i32.const 14)))
      (call $f (local.get $count))
      (call $value (local.get $e)))
    (func $deep (export "inFrames") (param $depth i32) (param $count i32) (result i32) (local $e exnref)
      (if (i32.eqz (local.get $depth)) (then (call $churn (local.get $count)) (return (i32.const 0))))
      (local.set $e (call $caught (local.get $depth)))
      (i32.add (call $deep (i32.sub (local.get $depth) (i32.const 1)) (local.get $count)) (call $value (local.get $e))))
    (func (export "imported") (param $count i32)
      (loop $next
        (block $l (try_table (catch_all $l) (call $f (local.get $count))) unreachable)
        (br_if $next (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))`,
  exportsNull: '(global (export "none") exnref (ref.null exn))',
  importsNull: `(import "e" "none" (global $none exnref)) (export "none" (global $none))
    (func (export "isNull") (result i32) (ref.is_null (global.get $none)))`,
}

/** What a function throws, as `{ error }`; undefined if it returns. */
function caught(fn) {
  try {
    fn()
  } catch (error) {
    return { error }
  }
  return undefined
}

const throwing = (value) => () => {
  throw value
}

module.exports = { LIVE, caught, texts, throwing, times }
