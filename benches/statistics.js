'use strict'

const sorted = (values) => [...values].sort((a, b) => a - b)

/** The value below which `share` of the (sorted) values lie, between neighbours by proportion. */
function quantile(values, share) {
  const at = (values.length - 1) * share
  const low = Math.floor(at)
  return values[low] + (values[Math.ceil(at)] - values[low]) * (at - low)
}

/** @returns {{median: number, min: number, max: number, q1: number, q3: number, n: number}} */
function summarize(values) {
  const all = sorted(values)
  return {
    median: quantile(all, 0.5),
    min: all[0],
    max: all.at(-1),
    q1: quantile(all, 0.25),
    q3: quantile(all, 0.75),
    n: all.length,
  }
}

module.exports = { summarize }
