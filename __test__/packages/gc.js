'use strict'
// A module of garbage-collected types, by fallback: what compilers of Kotlin, Dart and Java make of
// classes (recursive subtypes, casts, arrays, i31), and JavaScript holding its objects. Binaryen, which
// assembles and optimises it (and has the old names of two instructions), is WebAssembly of the common kind.

const { run } = require('./loop.js')

const text = `(module
  (rec
    (type $shape (sub (struct (field $table (ref $methods)) (field $tag (mut i32)))))
    (type $area (func (param (ref $shape)) (result f64)))
    (type $methods (sub (struct (field $area (ref $area))))))
  (type $floats (array (mut f64)))
  (type $bytes (array (mut i8)))
  (type $circle (sub final $shape (struct (field (ref $methods)) (field (mut i32)) (field $radius f64))))
  (type $box (sub final $shape (struct (field (ref $methods)) (field (mut i32)) (field $sides (ref $floats)))))
  (type $node (struct (field $key i32) (field $value (ref null $shape)) (field $left (mut (ref null $node))) (field $right (mut (ref null $node)))))
  (import "env" "seen" (func $seen (param externref i32)))
  (global $root (mut (ref null $node)) (ref.null $node))
  (elem declare func $circle-area $box-area)

  (func $circle-area (type $area) (param $this (ref $shape)) (result f64)
    (f64.mul (f64.const 3.25)
      (f64.mul (struct.get $circle $radius (ref.cast (ref $circle) (local.get $this)))
               (struct.get $circle $radius (ref.cast (ref $circle) (local.get $this))))))
  (func $box-area (type $area) (param $this (ref $shape)) (result f64) (local $i i32) (local $all f64) (local $sides (ref null $floats))
    (local.set $sides (struct.get $box $sides (ref.cast (ref $box) (local.get $this))))
    (local.set $all (f64.const 1))
    (loop $next
      (local.set $all (f64.mul (local.get $all) (array.get $floats (local.get $sides) (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $i) (array.len (local.get $sides)))))
    (local.get $all))

  (func $shape (param $i i32) (result (ref $shape))
    (if (result (ref $shape)) (i32.and (local.get $i) (i32.const 1))
      (then (struct.new $circle (struct.new $methods (ref.func $circle-area)) (local.get $i) (f64.convert_i32_s (local.get $i))))
      (else (struct.new $box (struct.new $methods (ref.func $box-area)) (local.get $i)
        (array.new $floats (f64.div (f64.convert_i32_u (local.get $i)) (f64.const 16)) (i32.add (i32.const 1) (i32.rem_u (local.get $i) (i32.const 5))))))))
  (func $insert (param $at (ref null $node)) (param $key i32) (result (ref $node))
    (if (ref.is_null (local.get $at))
      (then (return (struct.new $node (local.get $key) (call $shape (local.get $key)) (ref.null $node) (ref.null $node)))))
    (if (i32.lt_s (local.get $key) (struct.get $node $key (local.get $at)))
      (then (struct.set $node $left (local.get $at) (call $insert (struct.get $node $left (local.get $at)) (local.get $key))))
      (else (struct.set $node $right (local.get $at) (call $insert (struct.get $node $right (local.get $at)) (local.get $key)))))
    (ref.as_non_null (local.get $at)))
  (func $sum (param $at (ref null $node)) (result f64) (local $shape (ref null $shape))
    (if (ref.is_null (local.get $at)) (then (return (f64.const 0))))
    (local.set $shape (struct.get $node $value (local.get $at)))
    (f64.add
      (f64.add (call $sum (struct.get $node $left (local.get $at))) (call $sum (struct.get $node $right (local.get $at))))
      (call_ref $area (ref.as_non_null (local.get $shape)) (struct.get $methods $area (struct.get $shape $table (local.get $shape))))))

  (func (export "fill") (param $count i32) (param $seed i32)
    (global.set $root (ref.null $node))
    (loop $next
      (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 1664525)) (i32.const 1013904223)))
      (global.set $root (call $insert (global.get $root) (i32.shr_u (local.get $seed) (i32.const 20))))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br_if $next (local.get $count))))
  (func (export "total") (result f64) (call $sum (global.get $root)))
  (func (export "make") (param $i i32) (result externref)
    (extern.externalize (call $shape (local.get $i))))
  (func (export "tag") (param $it externref) (result i32)
    (call $seen (local.get $it) (i32.const 7))
    (if (result i32) (ref.test (ref $shape) (extern.internalize (local.get $it)))
      (then (struct.get $shape $tag (ref.cast (ref $shape) (extern.internalize (local.get $it)))))
      (else (if (result i32) (ref.test (ref i31) (extern.internalize (local.get $it)))
        (then (i31.get_s (ref.cast (ref i31) (extern.internalize (local.get $it)))))
        (else (i32.const -1))))))
  (func (export "radius") (param $it externref) (result f64)
    (struct.get $circle $radius (ref.cast (ref $circle) (extern.internalize (local.get $it)))))
  (func (export "crc") (param $n i32) (result i32) (local $all i32) (local $bytes (ref null $bytes))
    (local.set $bytes (array.new $bytes (i32.const 90) (local.get $n)))
    (loop $next
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (array.set $bytes (local.get $bytes) (local.get $n) (i32.mul (local.get $n) (i32.const 37)))
      (local.set $all (i32.xor (i32.rotl (local.get $all) (i32.const 5)) (array.get_s $bytes (local.get $bytes) (local.get $n))))
      (br_if $next (local.get $n)))
    (i32.add (local.get $all) (array.get_u $bytes (local.get $bytes) (local.get $n)))))`

run(async () => {
  const { default: binaryen } = await import('binaryen')
  function assemble(optimize) {
    const module = binaryen.parseText(text)
    module.setFeatures(binaryen.Features.All)
    if (!module.validate()) throw new Error('binaryen refuses the module')
    if (optimize) module.optimize()
    const made = { bytes: module.emitBinary(), text: module.emitText() }
    module.dispose()
    return made
  }

  return async () => {
    const outputs = []
    for (const made of [assemble(false), assemble(true)]) {
      outputs.push(made.bytes, made.text, String(WebAssembly.validate(made.bytes)))
      const seen = []
      const module = await WebAssembly.compile(made.bytes)
      const { exports } = await WebAssembly.instantiate(module, { env: { seen: (...args) => seen.push(args) } })
      const shapes = [1, 2, 3].map(exports.make)
      exports.fill(3000, 5)
      outputs.push(String(exports.total()), String(exports.crc(1000)))
      const things = [...shapes, 5, -(2 ** 30), 2 ** 30, 0.5, 'text', null, undefined, outputs]
      outputs.push(things.map(exports.tag).join())
      outputs.push(seen.map(([it, number], i) => `${Object.is(it, things[i])} ${typeof it} ${number}`).join('\n'))
      outputs.push(`${Object.getPrototypeOf(shapes[0])} ${Object.keys(shapes[0])} ${Object.isExtensible(shapes[0])}`)
      outputs.push(JSON.stringify([WebAssembly.Module.imports(module), WebAssembly.Module.exports(module), Object.keys(exports)]))
      for (const broken of [
        () => exports.radius(shapes[1]),
        () => exports.radius({}),
        () => exports.crc(-1),
        () => (shapes[0].tag = 1),
        () => new WebAssembly.Instance(module, {}),
      ]) {
        try {
          outputs.push(String(broken()))
        } catch (error) {
          outputs.push(`${error.constructor.name} ${error instanceof Error} ${error.message}`)
        }
      }
    }
    return outputs
  }
})
