'use strict'
// The lazy baseline from JavaScript: what is called first near the end of a stack, in a thread that is ended, of a module that is
// not valid, and of one with more types or tables than there are adapters for. What runs is compared with the built-in in difference.test.js, spec.test.js, stack.test.js and api/.

const { once } = require('node:events')
const path = require('node:path')
const { Worker } = require('node:worker_threads')
const test = require('ava')

const { CompileError, Instance, Module } = require('..').WebAssembly
const { assemble } = require('./children/modules.js')
const { count } = require('./support/stress.js')

const LAZY = { cache: false, optimize: false, baseline: 'lazy' }

const FUNCTIONS = 400

/** `down` calls itself so often, then a function that nothing else calls: with floats in its type, every other one. */
const DEEP = `(module
  (type $f (func (param f64) (result i32)))
  (table ${FUNCTIONS} funcref) (elem (i32.const 0) ${Array.from({ length: FUNCTIONS }, (_, n) => `$f${n}`).join(' ')})
  ${Array.from({ length: FUNCTIONS }, (_, n) => `(func $f${n} (type $f) (i32.add (i32.const ${n}) (i32.trunc_f64_s (local.get 0))))`).join('\n  ')}
  (func $down (export "down") (param $depth i32) (param $n i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $n)))
      (else (call_indirect (type $f) (f64.const 1) (local.get $n))))))`

test('what is called first at the end of a stack is a RangeError, or what it is elsewhere', async (t) => {
  const { down } = new Instance(new Module(await assemble(DEEP), LAZY)).exports
  const fits = (depth, n) => {
    try {
      t.is(down(depth, n), n + 1)
      return true
    } catch (error) {
      t.true(error instanceof RangeError, `${error}`)
      return false
    }
  }
  t.true(fits(0, 0))
  let [low, high] = [0, 1 << 20]
  while (low + 1 < high) {
    const middle = (low + high) >> 1
    if (fits(middle, 0)) low = middle
    else high = middle
  }
  // The function that was called already fits down to here. What a stub needs, and its reserve, is less than 64 kB of frames.
  const outcomes = []
  for (let n = 1; n < FUNCTIONS; n++) outcomes.push(fits(low - 2 * (FUNCTIONS - n), n))
  t.true(outcomes[0], 'there was room')
  t.false(outcomes.at(-1), 'there was none')
  for (let n = 0; n < FUNCTIONS; n++) t.true(fits(0, n), 'and nothing is broken')
})

test('a body that is not valid is refused before it is called', async (t) => {
  const bytes = await assemble('(module (func (export "f")) (func (export "g") (result i32) (i32.const 7)))')
  const last = bytes.lastIndexOf(7)
  t.notThrows(() => new Module(bytes, LAZY))
  bytes[last - 1] = 0x42 // i64.const
  t.throws(() => new Module(bytes, LAZY), { instanceOf: CompileError, message: /type/ })
})

/** So many different types of seven parameters, each with a float. */
const types = (count) =>
  Array.from({ length: 3 ** 7 }, (_, n) => [...n.toString(3).padStart(7, '0')].map((digit) => ['i32', 'f32', 'f64'][digit]))
    .filter((parameters) => parameters.some((type) => type !== 'i32'))
    .slice(0, count)

const CALLED = '(func $f (param f64 f32 i64) (result f64) (f64.add (local.get 0) (f64.promote_f32 (local.get 1))))'
const CALLS = '(func (export "f") (result f64) (call $f (f64.const 1.5) (f32.const 0.25) (i64.const 7)))'

const MANY = {
  'nine tables': `(module ${'(table 1 funcref) '.repeat(9)} ${CALLED} ${CALLS})`,
  '1,500 types with floats': `(module ${types(1500)
    .map((parameters) => `(type (func (param ${parameters.join(' ')})))`)
    .join(' ')} ${CALLED} ${CALLS})`,
}

for (const [what, text] of Object.entries(MANY)) {
  test(`what has no adapters is called as well: ${what}`, async (t) => {
    const bytes = await assemble(text)
    for (const baseline of ['eager', 'lazy']) {
      t.is(new Instance(new Module(bytes, { ...LAZY, baseline })).exports.f(), 1.75, baseline)
    }
  })
}

const WORKER = path.join(__dirname, 'children/lazy-worker.js')

test('threads that are ended while they and others wait for functions of one module', async (t) => {
  t.timeout(5 * 60 * 1000)
  for (let round = 0; round < count(2, 100); round++) {
    const start = (isEnded) => new Worker(WORKER, { workerData: { round, isEnded } })
    const [stays, ...ended] = [false, true, true].map(start)
    const exits = [stays, ...ended].map((worker) => once(worker, 'exit'))
    ended.forEach((worker, number) => worker.once('message', () => setTimeout(() => worker.terminate(), 20 * (round + number))))
    const [code] = await once(stays, 'message')
    t.is(code, 'a + 1;\n')
    t.deepEqual((await Promise.all(exits)).flat(), [0, 1, 1])
  }
})
