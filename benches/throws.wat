;; What is thrown out of WebAssembly, below calls of WebAssembly and JavaScript in turns.
(module
  (import "env" "nest" (func $nest (param i32)))
  (import "env" "throw" (func $throw))
  (func (export "nest") (param i32) (call $nest (local.get 0)))
  (func (export "call") (call $throw))
  (func (export "trap") (unreachable)))
