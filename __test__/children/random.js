'use strict'

/** mulberry32: the same rounds for the same seed, so that a crash can be had again. */
module.exports = function random(seed) {
  return (below) => {
    seed = (seed + 0x6d2b79f5) >>> 0
    let t = Math.imul(seed ^ (seed >>> 15), seed | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
