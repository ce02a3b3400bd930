'use strict'

// Sizes and ages as people write them: "500M", "1.5 GiB", "30d".

// Powers of 1024, as V8, Docker and du count.
const SIZES = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 }
const SIZE = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i

const SECOND = 1000
const AGES = { s: SECOND, m: 60 * SECOND, h: 3600 * SECOND, d: 86400 * SECOND, w: 7 * 86400 * SECOND }
const AGE = /^(\d+(?:\.\d+)?)\s*([smhdw])$/i

/** Bytes; undefined for what is no size. */
function parseSize(text) {
  const [, number, unit] = SIZE.exec(text.trim()) ?? []
  return number === undefined ? undefined : Math.round(Number(number) * SIZES[unit.toLowerCase()])
}

/** Milliseconds; undefined for what is no age. */
function parseAge(text) {
  const [, number, unit] = AGE.exec(text.trim()) ?? []
  return number === undefined ? undefined : Math.round(Number(number) * AGES[unit.toLowerCase()])
}

const UNITS = ['bytes', 'kB', 'MB', 'GB', 'TB']

/** As a person reads it: three digits, and the unit. */
function formatSize(bytes) {
  let [value, unit] = [bytes, 0]
  while (value >= 999.5 && unit < UNITS.length - 1) [value, unit] = [value / 1024, unit + 1]
  const digits = unit === 0 || value >= 99.95 ? 0 : 1
  return `${value.toFixed(digits)} ${bytes === 1 ? 'byte' : UNITS[unit]}`
}

/** A time span, from ms on. */
function formatDuration(ms) {
  if (ms < 10) return `${ms.toFixed(2)} ms`
  if (ms < SECOND) return `${ms.toFixed(0)} ms`
  return ms < 60 * SECOND ? `${(ms / SECOND).toFixed(1)} s` : `${(ms / 60 / SECOND).toFixed(1)} min`
}

module.exports = { formatDuration, formatSize, parseAge, parseSize }
