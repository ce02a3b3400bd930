'use strict'
// What wasm holds of JavaScript's values: not longer than it must, and not shorter, whichever code holds them and wherever.

const test = require('ava')
const v8 = require('node:v8')
const { runInNewContext } = require('node:vm')
const { W, ready } = require('./support/engine.js')
const { compileInTiers, tiers } = require('./support/tiers.js')

v8.setFlagsFromString('--expose-gc')
const gc = runInNewContext('gc')

const LIVE = 24
const MANY = 100
const times = (count, text) => Array.from({ length: count }, (_, k) => text(k)).join(' ')
const refs = (count) => times(count, () => 'externref')
const locals = (count) => times(count, (k) => `(local.get ${k})`)

// How many values a frame holds while it waits for $f: one takes a register, so many lie on the stack.
const COUNTS = [1, 2, 3, 4, 5, 6, 7, 9, 12, LIVE]

const KINDS = ['parameters', 'locals', 'operands']

const texts = {
  frames: `(import "e" "f" (func $f)) (import "e" "make" (func $make (param i32) (result externref)))
    ${times(COUNTS.length, (at) => {
      const count = COUNTS[at]
      return `
        (func (export "parameters${count}") (param ${refs(count)}) (result ${refs(count)}) (call $f) ${locals(count)})
        (func (export "locals${count}") (param ${refs(count)}) (result ${refs(count)}) (local ${refs(count)})
          ${times(count, (k) => `(local.set ${count + k} (local.get ${k}))`)} ${times(count, (k) => `(local.set ${k} (ref.null extern))`)}
          (call $f) ${times(count, (k) => `(local.get ${count + k})`)})
        (func (export "operands${count}") (result ${refs(count)}) ${times(count, (k) => `(call $make (i32.const ${k}))`)} (call $f))`
    })}`,
  ways: `(import "e" "use" (func $use (param externref))) (import "e" "make" (func $make (result externref)))
    (import "e" "many" (func $many (result ${refs(MANY)})))
    (table $t (export "table") 8 externref) (table $own 8 externref)
    (global $g (export "global") (mut externref) (ref.null extern)) (global $own (mut externref) (ref.null extern))
    (func (export "take") (param externref))
    (func (export "takeTwo") (param externref i32) (result externref) (local.get 0))
    (func (export "takeThree") (param externref i32 externref) (result externref externref) (local.get 0) (local.get 2))
    (func (export "takeMany") (param ${refs(MANY)}) (result ${refs(MANY)}) ${locals(MANY)})
    (func (export "giveMany") (result ${refs(MANY)}) (call $many))
    (func (export "pass") (param externref) (call $use (local.get 0)))
    (func (export "make") (param i32)
      (loop $l (drop (call $make)) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "makeAndUse") (param i32)
      (loop $l (call $use (call $make)) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "toTable") (param i32)
      (loop $l (table.set $own (i32.and (local.get 0) (i32.const 7)) (call $make))
        (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "toGlobal") (param i32)
      (loop $l (global.set $own (call $make)) (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "hide") (param externref externref)
      (table.set $own (i32.const 3) (local.get 0)) (global.set $own (local.get 1)))
    (func (export "hidden") (result externref externref) (table.get $own (i32.const 3)) (global.get $own))
    (func (export "grow") (param externref) (result i32) (table.grow $own (local.get 0) (i32.const 4)))
    (func (export "grown") (param i32) (result externref) (table.get $own (i32.add (i32.const 8) (local.get 0))))`,
  thrown: `(import "e" "f" (func $f)) (import "e" "make" (func $make (result externref))) (import "e" "tag" (tag $tag (param externref)))
    (tag $many (param ${refs(MANY)})) (tag $one (param externref)) (global $kept (mut exnref) (ref.null exn))
    (func (export "take") (param externref))
    (func (export "throw") (param externref) (throw $one (local.get 0)))
    (func (export "catchOwn") (param i32)
      (loop $l
        (drop (block $h (result externref) (try_table (catch $one $h) (throw $one (call $make))) (unreachable)))
        (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "catchImport") (param i32)
      (loop $l
        (drop (block $h (result externref) (try_table (catch $tag $h) (call $f)) (unreachable)))
        (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "catchAll") (param i32)
      (loop $l
        (block $h (try_table (catch_all $h) (call $f)) (unreachable))
        (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))))
    (func (export "keep") (param externref)
      (global.set $kept (block $h (result exnref) (try_table (catch_all_ref $h) (throw $one (local.get 0))) (unreachable))))
    (func (export "kept") (result externref)
      (block $h (result externref) (try_table (catch $one $h) (throw_ref (global.get $kept))) (unreachable)))
    (func (export "waitWith") (param externref) (result externref) (local $e exnref)
      (local.set $e (block $h (result exnref) (try_table (catch_all_ref $h) (throw $one (local.get 0))) (unreachable)))
      (local.set 0 (ref.null extern))
      (call $f)
      (block $h (result externref) (try_table (catch $one $h) (throw_ref (local.get $e))) (unreachable)))
    (func (export "carry") (param ${refs(MANY)}) (result ${refs(MANY)})
      (block $h (result ${refs(MANY)}) (try_table (catch $many $h) ${locals(MANY)} (throw $many)) (unreachable)))`,
}

let modules
test.before(async () => {
  await ready
  modules = await compileInTiers(texts)
})

/** A value that can be counted. */
class Value {
  constructor(name) {
    this.name = name
  }
}

/** How many are alive, in the middle of whatever runs (V8 collects garbage first), beside those before. */
const alive = (before = 0) => v8.queryObjects(Value, { format: 'count' }) - before

const ROUNDS = 5000
/** Of those that nothing holds; a sweep's leave is far below. */
const FEW = 600

/** Sends so many values to wasm that every place that was free is taken again, some times over. */
function crowd({ take }) {
  for (let i = 0; i < 1000; i++) take(new Value('crowd'))
}

const names = (values) => values.map((value) => value?.name)
const values = (count) => Array.from({ length: count }, (_, k) => new Value(k))
const numbers = (count) => Array.from({ length: count }, (_, k) => k)

const IMPORTS = { use() {}, make: () => new Value('made'), many: () => values(MANY) }

const tag = new W.Tag({ parameters: ['externref'] })
const starter = (tier) => (name, imports) => new W.Instance(modules[tier][name], { e: { tag, ...imports } }).exports

for (const tier of tiers) {
  const start = starter(tier)

  test.serial(`${tier}: what only frames hold is there after the import returns`, (t) => {
    let crowded = false
    const exported = start('frames', {
      make: (k) => new Value(k),
      f() {
        if (crowded) return
        crowded = true
        crowd({ take: exported.parameters1 })
        crowded = false
      },
    })
    for (const count of COUNTS) {
      const list = (result) => names(count === 1 ? [result] : result)
      for (const kind of KINDS) t.deepEqual(list(exported[`${kind}${count}`](...values(count))), numbers(count))
    }
  })

  test.serial(`${tier}: what frames hold of calls that wait for other calls, all of one group`, (t) => {
    for (const count of COUNTS) {
      for (const kind of KINDS) {
        const seen = []
        const go = (depth) => {
          const result = exported[`${kind}${count}`](...values(count))
          seen.push([depth, names(count === 1 ? [result] : result)])
        }
        let depth = 0
        const exported = start('frames', {
          make: (k) => new Value(k),
          f() {
            depth++
            if (depth < 6) go(depth)
            if (depth === 6) crowd({ take: exported.parameters1 })
          },
        })
        go(0)
        t.deepEqual(
          seen,
          [5, 4, 3, 2, 1, 0].map((at) => [at, numbers(count)])
        )
      }
    }
  })

  test.serial(`${tier}: what tables and globals hold, seen from outside or not`, (t) => {
    const exported = start('ways', IMPORTS)
    exported.hide(new Value('table'), new Value('global'))
    t.is(exported.grow(new Value('grown')), 8)
    exported.table.set(2, new Value('outside'))
    t.is(exported.table.grow(3, new Value('fill')), 8)
    exported.global.value = new Value('exported')
    crowd(exported)
    t.deepEqual(names(exported.hidden()), ['table', 'global'])
    t.deepEqual(names([0, 1, 2, 3].map((k) => exported.grown(k))), Array(4).fill('grown'))
    t.deepEqual(names([2, 8, 9, 10].map((k) => exported.table.get(k))), ['outside', 'fill', 'fill', 'fill'])
    t.is(exported.global.value.name, 'exported')
  })

  test.serial(`${tier}: what exceptions hold`, (t) => {
    const exported = start('thrown', { f: () => crowd(exported), make: IMPORTS.make })
    exported.keep(new Value('kept'))
    crowd(exported)
    t.is(exported.kept().name, 'kept')
    t.is(exported.waitWith(new Value('payload')).name, 'payload')
    t.deepEqual(names(exported.carry(...values(MANY))), numbers(MANY))
  })

  test.serial(`${tier}: more values in one signature than places are free`, (t) => {
    const exported = start('ways', IMPORTS)
    for (let round = 0; round < 20; round++) {
      t.deepEqual(names(exported.takeMany(...values(MANY))), numbers(MANY))
      t.deepEqual(names(exported.giveMany()), numbers(MANY))
    }
  })

  test.serial(`${tier}: a conversion that sends values to wasm, too`, (t) => {
    const exported = start('ways', {
      ...IMPORTS,
      many: () => ({
        *[Symbol.iterator]() {
          for (const value of values(MANY)) {
            crowd(exported)
            yield value
          }
        },
      }),
    })
    const converted = { valueOf: () => (crowd(exported), 1) }
    t.is(exported.takeTwo(new Value('first'), converted).name, 'first')
    t.deepEqual(names(exported.takeThree(new Value('first'), converted, new Value('third'))), ['first', 'third'])
    t.deepEqual(names(exported.giveMany()), numbers(MANY))
  })

  test.serial(`${tier}: in the middle of wasm, values that nothing holds are collected`, (t) => {
    const before = alive()
    const counts = []
    let calls = 0
    const exported = start('ways', {
      ...IMPORTS,
      use() {
        calls++
        if (calls % 2500 === 0) counts.push(alive(before))
      },
    })
    exported.makeAndUse(ROUNDS)
    t.is(counts.length, ROUNDS / 2500)
    for (const count of counts) t.true(count < FEW, `${counts}`)
  })

  test.serial(`${tier}: every value comes back as it is, and many times at once`, (t) => {
    const symbol = Symbol('s')
    const all = [0, -0, NaN, 1.5, 1n, '', 'text', true, false, undefined, null, symbol, {}, [], () => {}, 2 ** 53, -1, Infinity]
    const exported = start('ways', IMPORTS)
    const { length } = exported.table
    exported.table.grow(2 * all.length, all[0])
    for (const [k, value] of [...all, ...all].entries()) exported.table.set(length + k, value)
    crowd(exported)
    for (const [k, value] of [...all, ...all].entries()) t.true(Object.is(exported.table.get(length + k), value), String(value))
    for (const value of all) t.true(Object.is(exported.takeTwo(value, 0), value), String(value))
  })
}

// One tier will do: which values are held is not up to compiled code here.
const start = starter(tiers[0])

test.serial('in one stretch, values that nothing holds are collected, whichever way they went', (t) => {
  const exported = start('ways', IMPORTS)
  const repeat = (action) => () => {
    for (let i = 0; i < ROUNDS; i++) action(i)
  }
  const ways = {
    argument: repeat(() => exported.take(new Value())),
    'argument, import': repeat(() => exported.pass(new Value())),
    'result of an import': () => exported.make(ROUNDS),
    'result of an import, import': () => exported.makeAndUse(ROUNDS),
    'table.set': () => exported.toTable(ROUNDS),
    'global.set': () => exported.toGlobal(ROUNDS),
    'Table.set': repeat((i) => exported.table.set(i & 7, new Value())),
    'Table.grow': repeat(() => exported.table.grow(0, new Value())),
    'Global.value': repeat(() => (exported.global.value = new Value())),
    'a signature of many': repeat((i) => i % MANY === 0 && exported.takeMany(...values(MANY))),
  }
  const before = alive()
  for (const [name, way] of Object.entries(ways)) {
    way()
    const left = alive(before)
    t.true(left < FEW, `${name}: ${left}`)
  }
})

test.serial('so are the payloads of exceptions', (t) => {
  let make
  const exported = start('thrown', {
    make: IMPORTS.make,
    f() {
      throw make()
    },
  })
  const ways = {
    'caught where it was thrown': () => exported.catchOwn(ROUNDS),
    'thrown by an import'() {
      make = () => new W.Exception(tag, [new Value()])
      exported.catchImport(ROUNDS)
    },
    'a value that an import threw'() {
      make = () => new Value()
      exported.catchAll(ROUNDS)
    },
    'caught by JavaScript'() {
      for (let i = 0; i < ROUNDS; i++) {
        try {
          exported.throw(new Value())
        } catch (error) {
          if (!(error instanceof W.Exception)) throw error
        }
      }
    },
  }
  const before = alive()
  for (const [name, way] of Object.entries(ways)) {
    way()
    const left = alive(before)
    t.true(left < FEW, `${name}: ${left}`)
  }
})

test.serial('the last values are collected while nothing runs', async (t) => {
  const exported = start('ways', IMPORTS)
  const before = alive()
  exported.take(new Value())
  exported.make(3)
  // Collections and turns of the event loop; the first tells that the second can have them.
  for (let turn = 0; turn < 100 && alive(before) > 0; turn++) {
    gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.true(alive(before) <= 0)
  exported.hide(new Value('table'), new Value('global'))
  for (let turn = 0; turn < 3; turn++) {
    gc()
    await new Promise((resolve) => setImmediate(resolve))
  }
  t.deepEqual(names(exported.hidden()), ['table', 'global'])
})
