'use strict'

// Value types and function types by letter: i i32, I i64, f f32, d f64, v v128, r externref, c funcref, x exnref.

const LETTERS = new Map([
  ['i32', 'i'],
  ['i64', 'I'],
  ['f32', 'f'],
  ['f64', 'd'],
  ['v128', 'v'],
  ['externref', 'r'],
  ['anyfunc', 'c'],
  ['exnref', 'x'],
])

const NAMES = new Map([...LETTERS].map(([name, letter]) => [letter, name]))

const parsed = new Map()

/**
 * @param {string} text "params:results"
 * @returns {{text: string, params: string[], results: string[], opaque: boolean}} `opaque`: JavaScript cannot call it,
 *   for it has a v128 or an exnref
 */
function parseSignature(text) {
  let signature = parsed.get(text)
  if (signature === undefined) {
    const [params, results] = text.split(':').map((letters) => [...letters])
    signature = { text, params, results, opaque: /[vx]/.test(text) }
    parsed.set(text, signature)
  }
  return signature
}

module.exports = { LETTERS, NAMES, parseSignature }
