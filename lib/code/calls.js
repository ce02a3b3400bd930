'use strict'

// Which functions of a module were called, as V8 knows it: what it serializes of a module ends with a number for each of its
// functions, the budget that is left until the optimizing compiler has its turn. Where it is not the largest, the function
// was called.
//
// Nothing here is trusted: functions that are missed are compiled when they are called, as without this package.

const WORD = 4 // bytes
const MOST = 1024 * 1024 // bytes: of the budgets of so many functions the others are not looked at

/**
 * The end of what V8 serializes, in which the budgets are; undefined where V8 has optimised nothing.
 *
 * @param {object} shim
 * @param {object} module
 * @returns {Uint8Array | undefined}
 */
function budgetsOf(shim, module) {
  const code = shim.serialize(module, MOST)
  return code === undefined ? undefined : new Uint8Array(code)
}

/** How many functions a module has beside those that it imports (core specification, binary format, "function section"). */
function countFunctions(bytes) {
  let at = 8 // a valid module: what V8 has compiled
  const number = () => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (at < bytes.length) {
    const id = bytes[at++]
    const size = number()
    if (id === 3) return number()
    at += size
  }
  return 0
}

/**
 * @param {Uint8Array} bytes of the module
 * @param {Uint8Array} budgets
 * @returns {Uint8Array | undefined} 1 for each function that was called, 0 for the others; undefined where that cannot be told
 */
function calledIn(bytes, budgets) {
  const count = countFunctions(bytes)
  if (count === 0 || count * WORD > budgets.length) return undefined
  const view = new DataView(budgets.buffer, budgets.byteOffset + budgets.length - count * WORD, count * WORD)
  const all = Array.from({ length: count }, (_, index) => view.getUint32(index * WORD, true))
  const whole = all.reduce((most, one) => Math.max(most, one), 0)
  return Uint8Array.from(all, (left) => (left === whole ? 0 : 1))
}

/** The same, in an eighth of the room, and back. */
const pack = (called) => {
  const bits = Buffer.alloc(Math.ceil(called.length / 8))
  called.forEach((one, index) => (bits[index >> 3] |= one << (index & 7)))
  return bits.toString('base64')
}
const unpack = (text, count) => {
  const bits = Buffer.from(text, 'base64')
  return Uint8Array.from({ length: count }, (_, index) => ((bits[index >> 3] ?? 0) >> (index & 7)) & 1)
}

module.exports = { budgetsOf, calledIn, pack, unpack }
