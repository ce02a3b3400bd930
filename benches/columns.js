'use strict'
// The columns of a row: which engine, with which flags, with which cache. The first one is what the
// ratios refer to.
//
// ours: 'cold' every process finds an empty cache directory; 'hot' the artifacts lie in the cache;
//       'off' no cache; 'v8' the built-in engine, whose own code lies in the cache. The detached finisher is off throughout: its work, which belongs to the
//       process that is over, would fall into the next measurement.

const builtin = { key: 'builtin', label: 'built-in' }

/**
 * Flags of the built-in worth trying; which one is best depends on the row, so it is found there.
 * Not among them: --wasm-lazy-validation (seen: a quarter of the load time), because with it the
 * engine accepts modules that are not valid.
 */
const candidates = [
  [],
  ['--no-wasm-tier-up', '--no-wasm-dynamic-tiering'],
  ['--liftoff-only'],
  ['--no-liftoff'],
  ['--no-wasm-lazy-compilation'],
  ['--no-wasm-dynamic-tiering'],
]

const standard = [
  builtin,
  { key: 'best', label: 'built-in, best flags', candidates },
  { key: 'cold', label: 'ours, cold', ours: 'cold' },
  { key: 'hot', label: 'ours, hot', ours: 'hot' },
  { key: 'v8', label: "built-in, V8's code", ours: 'v8' },
]

const tiers = [
  builtin,
  { key: 'liftoff', label: 'V8 Liftoff', flags: ['--liftoff-only'] },
  { key: 'turbofan', label: 'V8 TurboFan', flags: ['--no-liftoff'] },
  { key: 'baseline', label: 'ours, baseline', ours: 'off', env: { BENCH_TIER: 'baseline' } },
  { key: 'optimizing', label: 'ours, optimizing', ours: 'off', env: { BENCH_TIER: 'optimized' } },
]

const engines = [builtin, { key: 'optimizing', label: 'ours', ours: 'off', env: { BENCH_TIER: 'optimized' } }]

const compiling = [
  builtin,
  { key: 'eager', label: 'built-in, eager Liftoff', flags: ['--no-wasm-lazy-compilation', '--liftoff-only'] },
  { key: 'cold', label: 'ours, cold', ours: 'cold' },
]

/** For what is too small to be cached. */
const uncached = [builtin, { key: 'cold', label: 'ours', ours: 'cold' }]

module.exports = { compiling, engines, standard, tiers, uncached }
