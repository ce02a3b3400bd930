'use strict'

// Sections of modules that an engine has found valid (core specification 5.5.2).

const [IMPORT, FUNCTION, CODE] = [2, 3, 10]

const PREAMBLE = 8 // bytes

/**
 * The first section that a valid module has of some.
 *
 * @param {Uint8Array} bytes
 * @param {number[]} ids
 * @param {number} [length] how many bytes there are, where the program's own may say otherwise
 * @returns {number | undefined} its id
 */
function firstOf(bytes, ids, length = bytes.length) {
  let at = PREAMBLE
  while (at < length) {
    const id = bytes[at++]
    if (ids.includes(id)) return id
    let size = 0
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[at++]
      size += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) break
    }
    at += size
  }
  return undefined
}

module.exports = { CODE, FUNCTION, IMPORT, firstOf }
