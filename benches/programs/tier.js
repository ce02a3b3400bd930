'use strict'
// Compiles for a bench that is about one tier: BENCH_TIER=baseline keeps our optimizing tier away,
// BENCH_TIER=optimized waits for it; without it, whatever the engine does.

module.exports = async function compile(bytes) {
  const { BENCH_TIER } = process.env
  const module = await WebAssembly.compile(bytes, BENCH_TIER === 'baseline' ? { optimize: false } : undefined)
  if (BENCH_TIER === 'optimized') await WebAssembly.Module.optimized(module)
  if (BENCH_TIER && WebAssembly.Module.tier(module) !== BENCH_TIER) throw new Error(`not in the ${BENCH_TIER} tier`)
  return module
}
