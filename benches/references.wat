(module
  (import "env" "use" (func $use (param externref) (result i32)))
  (import "env" "make" (func $make (param i32) (result externref)))
  (table $t (export "table") 1024 externref)
  (global (export "global") (mut externref) (ref.null extern))
  (func (export "take") (param externref))
  (func (export "give") (param externref) (result externref)
    (local.get 0))
  (func (export "use") (param $n i32) (param $value externref) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $use (local.get $value))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "make") (param $n i32)
    (loop $again
      (drop (call $make (local.get $n)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
