'use strict'

// How the engine that made an entry differs from the one that runs.

const { native } = require('../../process/native.js')

/** The fields of the engine's fingerprint that differ between machines, in words. */
const WORDS = {
  package: 'another version of this package',
  wasmer: 'another version of wasmer',
  cranelift: 'another version of Cranelift',
  target: 'another platform',
  cpu: 'other CPU features',
  wasm: 'other WebAssembly features',
}

/**
 * @param {Record<string, string>} engine of an entry
 * @returns {{field: string, cached: string, current: string}[]}
 */
const differencesOf = (engine) =>
  Object.entries(native.engineFingerprint())
    .map(([field, current]) => ({ field, cached: Object.hasOwn(engine, field) ? engine[field] : '', current }))
    .filter(({ cached, current }) => cached !== current)

/** What one list has and the other has not. */
const without = (list, other) => list.split(',').filter((feature) => !other.split(',').includes(feature))

function sides({ field, cached, current }) {
  if (field !== 'cpu') return `${cached || 'none'} there, ${current} here`
  const only = [
    [without(cached, current), 'there'],
    [without(current, cached), 'here'],
  ]
  return only
    .filter(([features]) => features.length > 0)
    .map(([features, where]) => `${features.join(' ')} only ${where}`)
    .join(', ')
}

/** Why an entry with these differences is of no use here. */
const reasonOf = (differences) =>
  differences
    .map((difference) => `made for ${WORDS[difference.field] ?? `another ${difference.field}`}: ${sides(difference)}`)
    .join('; ')

module.exports = { differencesOf, reasonOf }
