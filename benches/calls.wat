(module
  (type $binary (func (param i32 i32) (result i32)))
  (import "env" "add" (func $out (type $binary)))
  (import "env" "invoke_iii" (func $invoke (param i32 i32 i32) (result i32)))
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $add)
  (global $stack (mut i32) (i32.const 65536))
  (func (export "emscripten_stack_get_current") (result i32) (global.get $stack))
  ;; C++ whose exceptions are those of JavaScript: every call that may throw.
  (func (export "invokes") (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (call $invoke (i32.const 0) (local.get $sum) (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "indirect") (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (call_indirect (type $binary) (local.get $sum) (local.get $n) (i32.const 1)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $add (export "add") (type $binary)
    (i32.add (local.get 0) (local.get 1)))
  (func (export "loop") (param $n i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (call $out (local.get $sum) (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
