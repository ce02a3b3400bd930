'use strict'
// Exceptions and traps that pass frames: one to five of them, in every mixture of tiers, with all numbers of locals.
// A handler finds its function's values as they were (core, try_table), and a trap has the frames in its stack.

const { W, assemble, builtin, ours } = require('../support/engine.js')
const { frameNames, hash, texts, through, throughFloats } = require('../support/exception-frames.js')
const { compileInTiers, tiers } = require('../support/tiers.js')
const ava = require('ava')

// (module (func block try_table (catch_all 0) end end)): the built-in of some Nodes has no try_table.
const TRY_TABLE = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0, 10, 13, 1, 11, 0],
  ...[0x02, 0x40, 0x1f, 0x40, 1, 2, 0, 0x0b, 0x0b, 0x0b]
)
const test = W !== builtin || W.validate(TRY_TABLE) ? ava : ava.skip

let modules
ava.before(async () => {
  if (W !== builtin || W.validate(TRY_TABLE)) modules = await compileInTiers(texts)
})

/** All ways to choose one of `choices` `length` times. */
const choose = (choices, length) =>
  length === 0 ? [[]] : choose(choices, length - 1).flatMap((some) => choices.map((one) => [...some, one]))

const X = [1n, -5n, 0x7fff_ffff_ffffn]

/** Gives the names of the frames in turn. */
function inTurn() {
  let next = 0
  return () => frameNames[(next++ * 7) % frameNames.length]
}

/** Calls, and gives what was thrown. */
function thrown(fn) {
  try {
    fn()
  } catch (error) {
    return error
  }
  return undefined
}

/** Where the engine finds handlers itself: docs/platforms.md. */
const isDirect = process.platform === 'linux' && process.arch === 'x64' && process.report.getReport().header.glibcVersionRuntime

/** Calls, and expects that what is thrown finds its handler without the C runtime's unwinder, where the engine can do that. */
function directly(t, fn) {
  if (W === builtin || !isDirect) return fn()
  const { leftToUnwinder } = require('../../binding.js')
  const before = leftToUnwinder()
  const result = fn()
  t.is(leftToUnwinder(), before)
  return result
}

const indices = (error) => [...error.stack.matchAll(/wasm-function\[(\d+)\]/g)].map(([, index]) => Number(index))

/** The functions' indices, innermost first. Behind the import there are two of each frame; the second calls the first. */
const frameIndices = (name) => {
  const index = frameNames.indexOf(name)
  return index % 2 ? [index, index + 1] : [index + 1]
}

// The artifact's code is the optimizing tier's, and the lazy baseline's the eager one's.
const between = tiers.filter((tier) => !['artifact', 'lazy'].includes(tier))

for (const handlerTier of tiers) {
  for (const length of [1, 2, 3, 4, 5]) {
    test(`${handlerTier}: a handler finds its values, and a trap its stack, through ${length} frames`, (t) => {
      const name = inTurn()
      const tag = new W.Tag({ parameters: ['i64'] })
      let end
      const js = () => end()
      for (const mixture of choose(between, length)) {
        for (const endTier of between) {
          const ends = new W.Instance(modules[endTier].ends, { e: { t: tag } }).exports
          const names = mixture.map(name)
          const frame = (tier, name, next) => new W.Instance(modules[tier].frames, { e: { next } }).exports[name]
          const link = (next) => mixture.reduceRight((inner, tier, k) => frame(tier, names[k], inner), next)
          const handlers = (next) => new W.Instance(modules[handlerTier].handlers, { e: { t: tag, next } }).exports
          const what = `${mixture.map((tier, k) => `${tier} ${names[k]}`).join(', ')}, ${endTier}`

          const ofWasm = handlers(link(ends.throws))
          const ofJs = handlers(link(js))
          for (const x of X) {
            t.deepEqual(
              directly(t, () => ofWasm.caught(x)),
              [77n, hash(x)],
              what
            )
            t.is(
              directly(t, () => ofWasm.caughtAll(x)),
              hash(x),
              what
            )
            end = () => {
              throw new W.Exception(tag, [x])
            }
            t.deepEqual(
              directly(t, () => ofJs.caught(x)),
              [x, hash(x)],
              what
            )
            t.is(ofJs.caughtAll(x), hash(x), what)
            end = () => {
              throw new Error('of JavaScript')
            }
            t.is(ofJs.caughtAll(x), hash(x), what)
            t.is(thrown(() => ofJs.caught(x)).message, 'of JavaScript', what)
            end = ends.throws
            t.deepEqual(ofJs.caught(x), [77n, hash(x)], what)
          }

          const { caughtAll } = handlers(link(ends.traps))
          const error = thrown(() => caughtAll(1n))
          t.true(error instanceof W.RuntimeError, what)
          // Imported functions come first; the handlers are the last of theirs.
          t.deepEqual(indices(error), [2, ...names.toReversed().flatMap(frameIndices), 2], what)

          const returned = names.reduceRight((value, one) => through(one, value), 5n)
          t.is(handlers(link(ends.returns)).caughtAll(1n), returned, what)
        }
      }
    })
  }

  test(`${handlerTier}: functions with floats in their types pass values, exceptions and traps`, (t) => {
    const tag = new W.Tag({ parameters: ['i64'] })
    for (const [tier, endTier] of choose(between, 2)) {
      const ends = new W.Instance(modules[endTier].ends, { e: { t: tag } }).exports
      const what = `${tier}, ${endTier}`
      const { floats } = new W.Instance(modules[tier].floats, { e: { next: ends.returns } }).exports
      t.is(floats(), throughFloats(5n), what)
      const handlers = (end) => {
        const next = new W.Instance(modules[tier].floats, { e: { next: end } }).exports.floats
        return new W.Instance(modules[handlerTier].handlers, { e: { t: tag, next } }).exports
      }
      for (const x of X) {
        const ofWasm = handlers(ends.throws)
        t.deepEqual(
          directly(t, () => ofWasm.caught(x)),
          [77n, hash(x)],
          what
        )
        const ofJs = handlers(() => {
          throw new W.Exception(tag, [x])
        })
        t.deepEqual(
          directly(t, () => ofJs.caught(x)),
          [x, hash(x)],
          what
        )
      }
      const error = thrown(() => handlers(ends.traps).caughtAll(1n))
      t.deepEqual(indices(error), [2, 1, 2, 2], what)
    }
  })

  test(`${handlerTier}: what a handler throws again passes the next frames to the next handler`, (t) => {
    const name = inTurn()
    const tag = new W.Tag({ parameters: ['i64'] })
    for (const mixture of choose(between, 4)) {
      const frame = (tier, next) => new W.Instance(modules[tier].frames, { e: { next } }).exports[name()]
      for (const ending of [
        new W.Instance(modules[mixture[0]].ends, { e: { t: tag } }).exports.throws,
        () => {
          throw new W.Exception(tag, [77n])
        },
      ]) {
        const inner = frame(mixture[1], frame(mixture[0], ending))
        const { relay, seen, x } = new W.Instance(modules[mixture[3]].relay, { e: { next: inner } }).exports
        x.value = 41n
        const next = frame(mixture[2], relay)
        const { caught } = new W.Instance(modules[handlerTier].handlers, { e: { t: tag, next } }).exports
        t.deepEqual(caught(-9n), [77n, hash(-9n)], mixture.join())
        t.is(seen.value, hash(41n), mixture.join())
      }
    }
  })
}

ours('an exception passes frames and finds a handler whose code was replaced since they were called', (t) => {
  const tag = new W.Tag({ parameters: ['i64'] })
  const optimized = (module) => W.Module.tier(module) === 'optimized'
  const named = (bytes, name) => Buffer.concat([bytes, Buffer.of(0, name.length + 1, name.length), Buffer.from(name)])
  let baseline = false
  // Until the optimizing tier comes after the call.
  for (let tries = 0; !baseline; tries++) {
    const [frames, handlers] = ['frames', 'handlers'].map(
      (name) => new W.Module(named(assemble(texts[name]), `${tries}`), { cache: false })
    )
    const next = () => {
      baseline = !optimized(frames) && !optimized(handlers)
      while (!optimized(frames) || !optimized(handlers));
      throw new W.Exception(tag, [-1n])
    }
    const inner = new W.Instance(frames, { e: { next } }).exports['twice f8_3']
    const outer = new W.Instance(frames, { e: { next: inner } }).exports.f2_12
    const { caught } = new W.Instance(handlers, { e: { t: tag, next: outer } }).exports
    t.deepEqual(caught(3n), [-1n, hash(3n)])
  }
})
