'use strict'

// WebIDL as the JS API needs it: the shape of an interface and the conversions of arguments, in V8's words.

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function'

/**
 * Gives a constructor the property attributes of a WebIDL interface.
 *
 * @param {Function} constructor
 * @param {string} tag the class string
 * @param {object} members methods and accessors of the prototype; from an object literal they are enumerable, have no
 *   [[Construct]], and their `name` and `length` are right
 * @param {object} statics
 */
function defineInterface(constructor, tag, members, statics = {}) {
  const { prototype } = constructor
  Object.defineProperties(prototype, Object.getOwnPropertyDescriptors(members))
  Object.defineProperty(prototype, Symbol.toStringTag, { value: tag, configurable: true })
  Object.defineProperty(prototype, 'constructor', { value: constructor, writable: true, configurable: true })
  Object.defineProperty(constructor, 'prototype', { writable: false })
  Object.defineProperties(constructor, Object.getOwnPropertyDescriptors(statics))
}

function requireNew(target, name) {
  if (target === undefined) throw new TypeError(`WebAssembly.${name}(): WebAssembly.${name} must be invoked with 'new'`)
}

/** [EnforceRange] unsigned long. */
function toUnsignedLong(value, subject) {
  const number = Number.isInteger(value) ? value : Math.trunc(+value)
  if (!Number.isFinite(number)) throw new TypeError(`${subject} must be convertible to a valid number`)
  if (number < 0) throw new TypeError(`${subject} must be non-negative`)
  if (number > 0xffffffff) throw new TypeError(`${subject} must be in the unsigned long range`)
  return number + 0 // -0 becomes 0
}

/**
 * A stand-in for a dictionary that the built-in reads, in its own order: what it gets is what `convert` makes of the
 * dictionary's member, once.
 *
 * @param {object} dictionary
 * @param {(key: string, value: unknown) => unknown} convert
 */
function observed(dictionary, convert) {
  return new Proxy(
    {},
    {
      get: (_, key) => convert(key, dictionary[key]),
      has: (_, key) => key in dictionary,
    }
  )
}

const { apply } = Reflect
const bufferLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get

function isArrayBuffer(value) {
  try {
    apply(bufferLength, value, [])
    return true
  } catch {
    return false
  }
}

/** The bytes of a BufferSource of any realm, not copied; undefined for anything else. */
function bytesOf(source) {
  if (ArrayBuffer.isView(source)) {
    const { buffer, byteOffset, byteLength } = source
    // A detached or outgrown view has no bytes, and an offset its buffer would refuse.
    return byteLength === 0 ? new Uint8Array(0) : new Uint8Array(buffer, byteOffset, byteLength)
  }
  if (isObject(source) && isArrayBuffer(source)) {
    return apply(bufferLength, source, []) === 0 ? new Uint8Array(0) : new Uint8Array(source)
  }
  return undefined
}

module.exports = { bytesOf, defineInterface, isObject, observed, requireNew, toUnsignedLong }
