'use strict'
// The ways in which our engine runs a module, one a line of MODES. Each has the options that the module is compiled with, and
// a function that lets instances of it live. That gets
//   - `module`,
//   - `live`: begins a life (its steps, see ./life.js),
//   - `check`: takes a life's transcript and what life it was, and throws a Difference if it is not the built-in's,
//   - `at`: a number of steps that are some of a life's,
//   - `share`: has two worker threads run a mode's function on the module, at once.

const W = require('../../index.js')
const { finish } = require('./life.js')

class Difference extends Error {}

const ofTier = (module, tier) => {
  if (W.Module.tier(module) !== tier) throw new Difference(`the module is not in the tier ${tier}`)
}

async function baseline({ module, live, check }) {
  check(finish(live()), 'in the baseline')
  ofTier(module, 'baseline')
}

/** How many lives may pass until the optimizing tier is done, which it may be at any moment of one. */
const LIVES = 5

async function swapped({ module, live, check, at }) {
  // From now on it does not wait.
  const optimized = W.Module.optimized(module)
  const across = live()
  for (let step = 0; step < at; step++) across.next()
  for (let lives = 0; lives < LIVES && W.Module.tier(module) === 'baseline'; lives++) check(finish(live()), 'during the swap')
  await optimized
  ofTier(module, 'optimized')
  check(finish(across), 'across the swap')
  check(finish(live()), 'after the swap')
}

/** What is called often is optimized by itself, at any moment of a life. */
async function hot({ module, live, check, at }) {
  const across = live()
  for (let step = 0; step < at; step++) across.next()
  for (let lives = 0; lives < LIVES; lives++) check(finish(live()), 'while functions are optimized')
  check(finish(across), 'across their swap')
  await W.Module.optimized(module)
}

const MODES = {
  'eager baseline': { options: { optimize: false, baseline: 'eager' }, run: baseline },
  'lazy baseline': { options: { optimize: false, baseline: 'lazy' }, run: baseline },
  swapped: { options: { baseline: 'lazy' }, run: swapped },
  hot: { options: { baseline: 'lazy' }, run: hot },
  'in two workers': { options: { baseline: 'lazy' }, run: ({ share }) => share('swapped') },
  'hot in two workers': { options: { baseline: 'lazy' }, run: ({ share }) => share('hot') },
}

/** Throws if a life's transcript is not the expected one. */
function compare(expected, got, life) {
  const length = Math.max(expected.length, got.length)
  for (let line = 0; line < length; line++) {
    if (expected[line] === got[line]) continue
    const before = expected.slice(Math.max(0, line - 4), line)
    const [theirs, mine] = [expected, got].map((transcript) => transcript[line] ?? 'nothing more')
    throw new Difference([life, ...before, `the built-in: ${theirs}`, `ours: ${mine}`].join('\n'))
  }
}

module.exports = { Difference, MODES, compare }
