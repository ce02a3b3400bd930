'use strict'

// Exceptions at the border: a wasm exception that leaves wasm becomes a WebAssembly.Exception, and such an object that
// an import throws becomes a wasm exception again. Payload value k is value k of the arena.

const { builtin } = require('./native.js')
const { JSTag, tagAt, tagParams } = require('./tag.js')
const { read, toRaw, write } = require('./value.js')

const { apply } = Reflect
const { Exception } = builtin
const { is, getArg } = Exception.prototype

/** "Create an Exception object" from what wasm threw. */
function fromWasm(group, id) {
  const tag = tagAt(group, id)
  const payload = tagParams(tag).map((letter, k) => (letter === 'v' || letter === 'x' ? undefined : read(letter, k, group)))
  // An exception of JSTag is the JavaScript value itself.
  return tag === JSTag ? payload[0] : new Exception(tag, payload)
}

// `is` throws for whatever has not the built-in's brand.
const unrelated = new builtin.Tag({ parameters: [] })

function isException(value) {
  try {
    apply(is, value, [unrelated])
    return true
  } catch {
    return false
  }
}

function tagOf(group, value) {
  for (const [id, tag] of group.tags) {
    if (apply(is, value, [tag])) return { id, tag }
  }
  return undefined
}

/** The tag id under which wasm handlers see `value`, its payload in the arena; -1 if they have no name for it. */
function toWasm(group, value) {
  if (!isException(value)) {
    for (const [id, tag] of group.tags) {
      if (tag !== JSTag) continue
      write('r', 0, group.references.intern(value))
      return id
    }
    return -1
  }
  const found = tagOf(group, value)
  if (found === undefined) return -1
  const letters = tagParams(found.tag)
  if (letters.includes('v') || letters.includes('x')) return -1
  const raws = letters.map((letter, k) => toRaw(letter, apply(getArg, value, [found.tag, k]), group))
  raws.forEach((raw, k) => write(letters[k], k, raw))
  return found.id
}

module.exports = { fromWasm, toWasm }
