'use strict'
// What a program sees of a WebAssembly namespace: the same on every engine, but for `engine`.

const TEXT = `(module
  (import "env" "log" (func $log (param i32)))
  (import "env" "memory" (memory 1 4))
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $run)
  (global $count (export "count") (mut i32) (i32.const 0))
  (func $run (export "run") (param i32) (result i64)
    (call $log (i32.add (local.get 0) (memory.grow (i32.const 1))))
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store (i32.const 8) (local.get 0))
    (i64.mul (i64.extend_i32_s (local.get 0)) (i64.const 10000000000)))
  (func (export "trap") unreachable)
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))`

const engine = (W) => (W.Module.tier === undefined ? 'built-in' : 'ours')

function caught(f) {
  try {
    return ['no error', f()]
  } catch (error) {
    return [error instanceof Error, error.constructor.name, error.message]
  }
}

/** @returns {Promise<object>} plain JSON */
async function outcome(W, bytes) {
  const logged = []
  const memory = new W.Memory({ initial: 1, maximum: 4 })
  const imports = { env: { memory, log: (x) => logged.push(x) } }
  const { module, instance } = await W.instantiate(bytes, imports)
  const { run, trap, load, table, count } = instance.exports
  const again = new W.Instance(new W.Module(bytes), imports)
  const refused = await W.compile(bytes.subarray(0, 40)).catch((error) => error)
  return {
    engine: engine(W),
    valid: [W.validate(bytes), W.validate(bytes.subarray(0, 40))],
    results: [String(run(5)), String(run(-3)), String(table.get(0)(7)), String(again.exports.run(1))],
    logged,
    count: count.value,
    stored: new Int32Array(memory.buffer)[2],
    size: memory.buffer.byteLength,
    exports: W.Module.exports(module),
    imports: W.Module.imports(module),
    identities: [table.get(0) === run, table.get(1), instance instanceof W.Instance, module instanceof W.Module],
    errors: [
      caught(trap),
      caught(() => load(4 * 65536)),
      // What is wrong with the bytes, each decoder says in its own words.
      caught(() => new W.Module(bytes.subarray(0, 40))).map((part) => String(part).split(': ')[0]),
      caught(() => new W.Instance(module, { env: { memory } })),
      caught(() => new W.Instance(module)),
      [refused.constructor.name, refused instanceof W.CompileError],
    ],
  }
}

module.exports = { TEXT, caught, engine, outcome }
