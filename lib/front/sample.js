'use strict'

// A name for a module that costs no more for a large one: of its length, and of the bytes at some places of it.
//
// Two modules may have one name. What is found by it chooses an engine, and nothing else.

const WINDOWS = 32
const WINDOW = 64 // bytes

const scratch = new Uint8Array(WINDOWS * WINDOW)
const words = new Int32Array(scratch.buffer)

/** Two halves of 32 bits, multiplied and mixed as in MurmurHash3. */
function hash(count, seed) {
  let a = seed ^ 0x2545f491
  let b = seed ^ 0x9e3779b9
  for (let index = 0; index < count; index++) {
    const word = words[index]
    a = Math.imul(a ^ word, 0x85ebca6b)
    a ^= a >>> 13
    b = Math.imul(b ^ word, 0xc2b2ae35)
    b ^= b >>> 16
  }
  a = Math.imul(a ^ (b >>> 15), 0xc2b2ae35)
  b = Math.imul(b ^ (a >>> 13), 0x85ebca6b)
  return [a, b].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('')
}

/** @param {(from: number, to: number) => Uint8Array} read some of the bytes */
function take(length, read) {
  if (length <= scratch.length) {
    scratch.fill(0).set(read(0, length))
    return
  }
  for (let index = 0; index < WINDOWS; index++) {
    const from = Math.floor((index * (length - WINDOW)) / (WINDOWS - 1))
    scratch.set(read(from, from + WINDOW), index * WINDOW)
  }
}

/** Of a text: a partition, or the address of a module. */
function ofText(text) {
  let sum = 0
  for (let index = 0; index < text.length; index++) sum = Math.imul(sum ^ text.charCodeAt(index), 0x01000193)
  return sum
}

/**
 * @param {number} length
 * @param {(from: number, to: number) => Uint8Array} read
 * @param {{partition: string, standard: string}} about `standard`: the standard's own options (../code/standard.js)
 */
function sample(length, read, { partition, standard }) {
  take(length, read)
  return `${length.toString(16)}-${hash(words.length, length ^ ofText(partition) ^ ofText(standard))}`
}

/** The name of whatever comes from an address. */
function sampleAddress(address, { partition, standard }) {
  const bytes = Buffer.from(address)
  take(bytes.length, (from, to) => bytes.subarray(from, to))
  return `url-${hash(words.length, bytes.length ^ ofText(partition) ^ ofText(standard))}`
}

module.exports = { ofText, sample, sampleAddress }
