;; What WebAssembly throws and catches itself, so many frames below the handler, as often as the parameter says.
(module
  (tag $t (param i32))
  (func $frames (param i32 i32)
    (if (local.get 1)
      (then (call $frames (local.get 0) (i32.sub (local.get 1) (i32.const 1))))
      (else (throw $t (local.get 0)))))
  (func (export "same") (param i32) (result i32) (local $sum i32)
    (loop $again
      (try (do (throw $t (local.get 0))) (catch $t (local.set $sum (i32.add (local.get $sum)))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum))
  (func (export "frames") (param i32 i32) (result i32) (local $sum i32)
    (loop $again
      (try (do (call $frames (local.get 0) (local.get 1))) (catch $t (local.set $sum (i32.add (local.get $sum)))))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get $sum)))
