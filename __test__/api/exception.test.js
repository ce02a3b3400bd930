'use strict'
// Exceptions at the border between JavaScript and wasm. Sections are those of the JS API specification and of the core
// specification.

const v8 = require('node:v8')
const vm = require('node:vm')
const ava = require('ava')
const { W, builtin, ours } = require('../support/engine.js')
const { LIVE, caught, texts, throwing, times } = require('../support/exception-modules.js')
const stress = require('../support/stress.js')
const { compileInTiers, tiers } = require('../support/tiers.js')

v8.setFlagsFromString('--expose-gc')
const gc = vm.runInNewContext('gc')

// (module (func block try_table (catch_all 0) end end)): whether the engine has try_table and exnref. Ours has them on
// every Node; the built-in of some does not.
const TRY_TABLE = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 13, 1, 11, 0],
  ...[0x02, 0x40, 0x1f, 0x40, 1, 2, 0, 0x0b, 0x0b, 0x0b]
)
const hasExnref = W.validate(TRY_TABLE)
const test = hasExnref ? ava : ava.skip

ours('try_table and exnref are there on every Node', (t) => {
  t.true(hasExnref)
})

let modules
ava.before(async () => {
  if (!hasExnref) return
  modules = await compileInTiers(texts)
})

for (const tier of tiers) {
  const start = (name, imports = {}) => new W.Instance(modules[tier][name], { e: imports }).exports
  const here = (title, body) => test(`${tier}: ${title}`, body)
  // A function that an import's slot can be given later.
  const late = () => {
    const f = (...values) => f.body(...values)
    return f
  }

  for (const name of ['handlers', 'exporting']) {
    here(
      `an Exception of an ${name === 'handlers' ? 'imported' : 'exported'} tag is caught by it (JS API, "run a host function")`,
      (t) => {
        const f = late()
        const imported = new W.Tag({ parameters: [] })
        const exported = start(name, { f, t: imported })
        const tag = exported.t ?? imported
        const exception = new W.Exception(tag, [])
        f.body = throwing(exception)
        for (const handler of ['catch', 'catchAll', 'catchRef', 'catchAllRef']) t.is(exported[handler](), 1, handler)
        const other = new W.Exception(new W.Tag({ parameters: [] }), [])
        f.body = throwing(other)
        for (const handler of ['catchAll', 'catchAllRef']) t.is(exported[handler](), 1, handler)
        for (const handler of ['catch', 'catchRef']) t.is(caught(() => exported[handler]())?.error, other, handler)
        f.body = () => {}
        for (const handler of ['catch', 'catchAll', 'catchRef', 'catchAllRef']) t.is(exported[handler](), 0, handler)
      }
    )
  }

  here('JavaScript values are caught by catch_all and catch_all_ref only, and leave as they are (core, throw_ref)', (t) => {
    const f = late()
    const exported = start('handlers', { f, t: new W.Tag({ parameters: [] }) })
    const values = [new Error('x'), null, undefined, 0, -0, Number.NaN, 1n, 'text', Symbol('s'), {}, () => {}, new Proxy({}, {})]
    for (const value of values) {
      f.body = throwing(value)
      t.is(exported.catchAll(), 1)
      t.is(caught(() => exported.catch())?.error, value)
      t.is(exported.catchAllRef(), 1)
      t.is(caught(() => exported.throwKept())?.error, value)
      t.is(caught(() => exported.again())?.error, value)
    }
  })

  here('an Exception is the same object after wasm caught and threw it (JS API, Exception object cache)', (t) => {
    const f = late()
    const tag = new W.Tag({ parameters: [] })
    const exported = start('handlers', { f, t: tag })
    for (const exception of [new W.Exception(tag, []), new W.Exception(new W.Tag({ parameters: ['i32'] }), [1])]) {
      exception.mark = {}
      f.body = throwing(exception)
      t.is(exported.catchAllRef(), 1)
      t.is(caught(() => exported.throwKept())?.error, exception)
      t.is(caught(() => exported.throwKept())?.error, exception)
      t.is(caught(() => exported.again())?.error, exception)
      // And once more in.
      f.body = throwing(caught(() => exported.throwKept()).error)
      t.is(exported.catchAllRef(), 1)
      t.is(caught(() => exported.throwKept())?.error, exception)
    }
  })

  here('a payload of every type arrives (JS API, ToWebAssemblyValue and ToJSValue)', (t) => {
    const f = late()
    const tag = new W.Tag({ parameters: ['i32', 'i64', 'f32', 'f64', 'externref', 'anyfunc'] })
    const { caught: take, caughtRef, throws, own } = start('payload', { f, t: tag })
    const object = {}
    for (const values of [
      [-7, -8n, 1.5, -0.25, object, own],
      [2 ** 31 - 1, 2n ** 63n - 1n, Number.NaN, -0, undefined, null],
      [0, 0n, -Infinity, 5e-324, null, throws],
    ]) {
      f.body = throwing(new W.Exception(tag, values))
      t.deepEqual(take(), values)
      t.deepEqual(caughtRef(), values)
      const { error } = caught(() => throws(...values))
      t.true(error instanceof W.Exception)
      t.true(error.is(tag))
      values.forEach((value, index) => t.is(error.getArg(tag, index), value))
      f.body = throwing(error)
      t.deepEqual(take(), values)
    }
  })

  here('the first clause that matches catches; where none does, an outer handler (core, try_table)', (t) => {
    const f = late()
    const [one, two, other] = [1, 2, 3].map(() => new W.Tag({ parameters: [] }))
    const { nested, first } = start('order', { f, t: one, u: two })
    for (const [tag, inNested, inFirst] of [
      [one, 1, 1],
      [two, 2, 2],
      [other, undefined, 3],
    ]) {
      const exception = new W.Exception(tag, [])
      f.body = throwing(exception)
      t.is(first(), inFirst)
      if (inNested === undefined) t.is(caught(nested)?.error, exception)
      else t.is(nested(), inNested)
    }
    f.body = throwing('text')
    t.is(first(), 3)
    t.is(caught(nested)?.error, 'text')
  })

  here('two imported tags that are one match alike (core, tag addresses)', (t) => {
    const f = late()
    const tag = new W.Tag({ parameters: [] })
    const { nested, first } = start('order', { f, t: tag, u: tag })
    f.body = throwing(new W.Exception(tag, []))
    t.is(nested(), 1)
    t.is(first(), 1)
  })

  here('no trap is caught, wherever it went (core, trap; JS API, "run a host function")', (t) => {
    const f = late()
    const { unreachable, throwNull, own, catchAll } = start('traps', { f })
    const trapped = (fn, message) => {
      const { error } = caught(fn) ?? {}
      t.true(error instanceof W.RuntimeError, message)
      return error
    }
    t.is(trapped(throwNull, 'throw_ref of null').message, 'rethrowing null value')
    trapped(own, 'of the function itself')
    f.body = unreachable
    const error = trapped(catchAll, 'of an exported function')
    f.body = () => {
      try {
        unreachable()
      } finally {
        f.passed = true
      }
    }
    trapped(catchAll, 'through JavaScript')
    t.true(f.passed)
    f.body = throwing(error)
    t.is(caught(catchAll)?.error, error, 'thrown once more')
    const other = start('traps', { f: unreachable })
    t.true(caught(other.catchAll)?.error instanceof W.RuntimeError, 'of another instance')
    // What JavaScript made is no trap.
    for (const value of [
      new W.RuntimeError('unreachable'),
      new Error('wrapped', { cause: error }),
      Object.create(error),
      new RangeError('Maximum call stack size exceeded'),
    ]) {
      f.body = throwing(value)
      t.is(catchAll(), 1)
    }
  })

  here('a full stack is not caught (JS API, "stack overflow")', (t) => {
    const f = late()
    const { down, catchAll } = start('traps', { f })
    const full = (title) => {
      const { error } = caught(catchAll) ?? {}
      t.true(error instanceof RangeError, title)
      return error
    }
    f.body = down
    full('of wasm')
    f.body = function deep() {
      return deep() + 1
    }
    const error = full('of JavaScript')
    f.body = throwing(error)
    t.is(full('thrown once more'), error)
  })

  here('what an import throws because its result is of the wrong type is caught (JS API, "run a host function")', (t) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const f = late()
    const { run } = start('frames', { f, t: tag })
    f.body = () => ({
      valueOf() {
        throw new W.Exception(tag, [5])
      },
    })
    t.is(run(0, 0), 5)
    f.body = () => 1n
    t.true(caught(() => run(0, 0))?.error instanceof TypeError)
  })

  here('a handler catches through frames of every kind: imports in tables, plain functions, deep recursion', (t) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const f = late()
    const exported = start('frames', { f, t: tag })
    const given = []
    f.body = (...values) => {
      given.push(values)
      throw new W.Exception(tag, [values[0]])
    }
    t.is(exported.run(0, 21), 21, 'the import itself')
    t.is(exported.run(1, 22), 22, 'a function that calls it')
    t.is(exported.run(2, 2000), 77, 'recursion')
    t.deepEqual(given, [
      [21, 2.5],
      [22, 2.5],
      [77, 2.5],
    ])
    const { error } = caught(() => exported.f(4, 5))
    t.is(error.getArg(tag, 0), 4, 'the import, exported again')
    f.body = (value) => value + 1
    t.is(exported.run(1, 5), 6, 'nothing is thrown')
  })

  // Integers only, no exceptions: Singlepass compiles what lies between the handler and what throws.
  here('a handler catches through functions that know nothing of exceptions', (t) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const f = (value) => {
      if (value > 0) throw new W.Exception(tag, [value])
    }
    const exported = start('plain', { f, t: tag })
    t.is(exported.imported(31), 31)
    t.is(exported.importedIndirectly(32), 32)
    t.is(exported.thrown(33), 66)
    t.is(exported.imported(0), 0)
    t.is(exported.importedIndirectly(-1), 0)
  })

  here('a handler finds the locals of its function as they were', (t) => {
    const tag = new W.Tag({ parameters: ['i64'] })
    const given = []
    const { run } = start('wide', {
      t: tag,
      f(...values) {
        given.push(values)
        throw new W.Exception(tag, [1000n])
      },
    })
    const sum = (x) =>
      times(LIVE, (k) => `${x * (k + 3) + x + k}`)
        .split(' ')
        .reduce((all, one) => all + BigInt(one), 1000n)
    for (const x of [0, 1, -3, 12345]) t.is(run(x), sum(x))
    t.deepEqual(given[0], [1, 2n, 3, 4, null, 5, 6, 7n, 8, 9])
  })

  here('an exception crosses instances that were linked by nothing but a function', (t) => {
    const tag = new W.Tag({ parameters: ['i32', 'i64', 'f32', 'f64', 'externref', 'anyfunc'] })
    const inner = start('payload', { f() {}, t: tag })
    const values = [1, 2n, 3, 4, 'five', inner.own]
    const outer = start('payload', { f: () => inner.throws(...values), t: tag })
    t.deepEqual(outer.caught(), values)
    const thrown = caught(() => inner.throws(...values)).error
    const again = start('handlers', { f: throwing(thrown), t: new W.Tag({ parameters: [] }) })
    t.is(again.catchAllRef(), 1)
    t.is(caught(() => again.throwKept())?.error, thrown)
  })

  here('an uncaught exception is an Exception whose payload can be read (JS API, "call an exported function", getArg)', (t) => {
    const exported = start('uncaught', { f() {} })
    const object = {}
    const { error } = caught(() => exported.throws(object))
    t.true(error instanceof W.Exception)
    t.true(error.is(exported.t))
    t.false(error.is(exported.v))
    const values = [-5, -6n, Number.NaN, -0.5, object, exported.own]
    values.forEach((value, index) => t.is(error.getArg(exported.t, index), value))
    t.throws(() => error.getArg(exported.t, 6), { instanceOf: RangeError })
    t.throws(() => error.getArg(exported.v, 0), { instanceOf: TypeError })
    const { error: empty } = caught(() => exported.throwsNull())
    t.deepEqual(
      [0, 1, 2, 3, 4, 5].map((index) => empty.getArg(exported.t, index)),
      [0, 0n, 0, Number.NaN, null, null]
    )
    t.not(caught(() => exported.throws(object)).error, error, 'each throw makes one')
  })

  here('a v128 and an exnref cannot be read (JS API, getArg), but go through JavaScript', (t) => {
    const f = late()
    const exported = start('uncaught', { f })
    const { error: vector } = caught(() => exported.throwsVector())
    t.throws(() => vector.getArg(exported.v, 0), { instanceOf: TypeError })
    t.is(vector.getArg(exported.v, 1), 7)
    const { error: reference } = caught(() => exported.throwsReference())
    t.throws(() => reference.getArg(exported.x, 0), { instanceOf: TypeError })
    t.is(reference.getArg(exported.x, 1), 8)
    f.body = throwing(vector)
    t.is(exported.lane(), 3)
    // Nothing of wasm holds these, and many more are made.
    const vectors = Array.from({ length: 300 }, () => caught(() => exported.throwsVector()).error)
    for (let k = 0; k < 5000; k++) exported.keep()
    for (const one of vectors) {
      f.body = throwing(one)
      t.is(exported.lane(), 3)
    }
  })

  here('an exnref is one object in JavaScript, however often it is thrown (JS API, Exception object cache)', (t) => {
    const exported = start('uncaught', { f() {} })
    exported.keep()
    const { error } = caught(() => exported.throwKept())
    t.is(caught(() => exported.throwKept()).error, error)
    exported.keep()
    t.not(caught(() => exported.throwKept()).error, error)
  })

  here('an immutable exnref goes from instance to instance', (t) => {
    const exported = start('importsNull', { none: start('exportsNull', {}).none })
    t.is(exported.isNull(), 1)
    t.throws(() => exported.none.value, { instanceOf: TypeError })
  })

  here('a script that is terminated does not run handlers', (t) => {
    const f = late()
    const { catchAll } = start('traps', { f })
    let handled = 0
    const context = vm.createContext({
      run() {
        f.body = () => {
          for (;;);
        }
        handled += catchAll()
      },
    })
    const { error } = caught(() => vm.runInContext('run()', context, { timeout: 50 }))
    t.is(error.code, 'ERR_SCRIPT_EXECUTION_TIMEOUT')
    t.is(handled, 0)
    f.body = throwing(1)
    t.is(catchAll(), 1)
  })

  if (builtin.JSTag !== undefined) {
    here('JSTag is the tag of JavaScript values (JS API, "run a host function", "call an exported function")', (t) => {
      const f = late()
      const exported = start('js', { f, js: W.JSTag })
      for (const value of [new Error('x'), null, undefined, -0, 'text', {}]) {
        f.body = throwing(value)
        t.is(exported.caught(), value)
        t.is(caught(() => exported.throws(value))?.error, value)
        t.is(caught(() => exported.throwsRef(value))?.error, value)
      }
      const exception = new W.Exception(new W.Tag({ parameters: ['externref'] }), [1])
      f.body = throwing(exception)
      t.is(caught(() => exported.caught())?.error, exception, 'an Exception is none of them')
    })
  }

  // More than are made before the first sweep, and than there are words that look like one on a stack.
  const MANY = 20_000
  const PARTS = stress.count(1, 5)

  here('an exception that is held stays, however many others are thrown', (t) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const f = late()
    const exported = start('held', { f, t: tag })
    f.body = (count) => exported.churn(count)
    t.is(exported.inLocal(MANY), 11)
    t.is(exported.inGlobal(MANY), 12)
    t.is(exported.inPayload(MANY), 13)
    t.is(exported.acrossImport(MANY), 14)
    t.is(exported.inFrames(1500, MANY), (1500 * 1501) / 2)
    // Calls within calls, each of which holds one.
    let depth = 20
    f.body = (count) => (depth-- > 0 ? exported.acrossImport(count) : exported.churn(count))
    t.is(exported.acrossImport(MANY), 14)
    t.is(depth, -1)
  })

  here('a million exceptions that were caught take no memory', async (t) => {
    const tag = new W.Tag({ parameters: ['i32'] })
    const f = late()
    const exported = start('held', { f, t: tag })
    exported.churn(MANY)
    const before = process.memoryUsage.rss()
    exported.churn(1_000_000)
    t.true(process.memoryUsage.rss() - before < 64 * 2 ** 20, 'of wasm')
    for (const body of [(count) => throwing(new W.Exception(tag, [count]))(), (count) => throwing({ count })()]) {
      f.body = body
      // What V8 finalizes, it finalizes between two turns; the pages that its heap has in reserve do not count.
      const round = async () => {
        for (let part = 0; part < PARTS; part++) exported.imported(MANY)
        await new Promise(setImmediate)
        gc()
        await new Promise(setImmediate)
        const { rss, heapTotal, heapUsed } = process.memoryUsage()
        return rss - heapTotal + heapUsed
      }
      const taken = []
      for (let count = 0; count < 6; count++) taken.push(await round())
      // If all of them were kept, the last five rounds would have taken 48 MiB a part.
      t.log(`${taken.map((bytes) => Math.round(bytes / 2 ** 20)).join(', ')} MiB`)
      t.true(taken.at(-1) - taken[0] < PARTS * 36 * 2 ** 20, 'of JavaScript')
    }
  })
}
