'use strict'
// What programs do to the package without meaning harm, and what they do with it that they should not.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const initWabt = require('wabt')
const W = require('../index.js')

let wabt
test.before(async () => {
  wabt = await initWabt()
})

function assemble(wat) {
  const module = wabt.parseWat('test.wat', `(module ${wat})`, { exceptions: true })
  try {
    return module.toBinary({}).buffer
  } finally {
    module.destroy()
  }
}

// A WebAssembly.Exception is no Error, which is all that t.throws takes.
function caught(fn) {
  try {
    fn()
  } catch (error) {
    return error
  }
  return undefined
}

// ── Loading ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The package's JavaScript once more, over the same addon: what Jest's registry of modules does for every test file. */
function loadAgain() {
  const root = fs.realpathSync(path.join(__dirname, '..'))
  void W.Module // what is loaded is all of it
  const own = Object.keys(require.cache).filter(
    (file) => file.startsWith(root) && !file.endsWith('.node') && !file.includes('node_modules') && !file.includes('__test__')
  )
  const before = own.map((file) => [file, require.cache[file]])
  for (const file of own) delete require.cache[file]
  try {
    const again = require('../index.js')
    void again.Module // it is loaded
    return again
  } finally {
    for (const [file, module] of before) require.cache[file] = module
  }
}

test('the JavaScript can be loaded again over the same addon, and both copies go on', (t) => {
  const again = loadAgain()
  t.not(again.Module, W.Module)
  const bytes = assemble(`
    (import "env" "tick" (func $tick (param i32 f64) (result i32)))
    (tag $e (param i32 f64))
    (export "e" (tag $e))
    (memory (export "memory") 1 3)
    (func (export "run") (param i32 f64) (result i32) (call $tick (local.get 0) (local.get 1)))
    (func (export "grow") (result i32) (memory.grow (i32.const 1)))
    (func (export "throw") (param i32) (throw $e (local.get 0) (f64.const 2.5)))`)
  const make = (copy, tick) => new copy.Instance(new copy.Module(bytes), { env: { tick } }).exports
  const second = make(again, (a, b) => a + b)
  // The calls of both meet in one arena.
  const first = make(W, (a, b) => 100 * second.run(a, b))
  t.is(first.run(3, 4), 700)
  for (const [copy, exports] of [
    [W, first],
    [again, second],
  ]) {
    t.is(exports.grow(), 1)
    t.is(exports.memory.buffer.byteLength, 2 * 65536)
    const thrown = caught(() => exports.throw(7))
    t.true(thrown instanceof copy.Exception)
    t.true(thrown.is(exports.e))
    t.deepEqual([thrown.getArg(exports.e, 0), thrown.getArg(exports.e, 1)], [7, 2.5])
  }
})

// A trap that the engine raises takes a backtrace on the WebAssembly stack: with no room left for it, a lock of the C
// library would stay taken, and the next trap would wait for ever.
for (const [name, operation, message, ...more] of [
  ['unreachable', 'unreachable', 'unreachable'],
  ['memory.fill', '(memory.fill (i32.const -1) (i32.const 0) (i32.const 1))', 'memory access out of bounds'],
  // Calls with floats go through code of this package's own in the baseline, with a frame where these are many.
  ['unreachable behind many floats', 'unreachable', 'unreachable', 'f64', 'f32', 'i64', 'f64', 'i32', 'f32', 'f64'],
]) {
  test(`${name} traps at the very end of the stack, in both tiers`, async (t) => {
    t.timeout(5 * 60 * 1000)
    const bytes = assemble(`(memory 1) (table 1 funcref)
      (func $down (export "down") (param i32 ${more.join(' ')}) (local i64)
        (if (i32.eqz (local.get 0)) (then ${operation})
          (else (call $down (i32.sub (local.get 0) (i32.const 1)) ${more.map((_, n) => `(local.get ${n + 1})`).join(' ')}))))`)
    const module = new W.Module(bytes, { optimize: true, cache: false })
    const baseline = new W.Instance(new W.Module(bytes, { optimize: false, cache: false, partition: name }))
    await W.Module.optimized(module)
    for (const { exports } of [baseline, new W.Instance(module)]) {
      const values = more.map((type) => (type === 'i64' ? 1n : 1))
      const end = (depth) => caught(() => exports.down(depth, ...values))
      t.is(end(0).message, message)
      let [fits, overflows] = [0, 2 ** 20]
      while (overflows - fits > 1) {
        const middle = (fits + overflows) >> 1
        if (end(middle) instanceof RangeError) overflows = middle
        else fits = middle
      }
      // All over the last 10 kB, which a backtrace takes; each one walks all frames, so not every depth.
      for (let depth = overflows - 1; depth > overflows - 640; depth -= 37) {
        const error = end(depth)
        if (!(error instanceof RangeError) && error.message !== message) t.fail(`at depth ${depth}: ${error}`)
      }
      t.true(end(overflows + 1) instanceof RangeError)
      t.is(end(0).message, message)
    }
  })
}
