'use strict'

// Reading what a program passes: values of any realm, without asking the program's objects for more than the built-in does.
//
// May not know native code: ../front/namespace.js reads before any is loaded.

const { types } = require('node:util')

const { apply, getOwnPropertyDescriptor, getPrototypeOf } = Reflect

const isObject = (value) => (typeof value === 'object' && value !== null) || typeof value === 'function'

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

const getter = (prototype, name) => getOwnPropertyDescriptor(prototype, name).get
const bufferLength = getter(ArrayBuffer.prototype, 'byteLength')
const TypedArray = getPrototypeOf(Uint8Array)
const [viewBuffer, viewOffset, viewLength] = ['buffer', 'byteOffset', 'byteLength'].map((name) =>
  getter(TypedArray.prototype, name)
)

/**
 * The bytes of a BufferSource of any realm, not copied; undefined for anything else. A DataView is one to Web IDL, but
 * not to V8. Nothing is asked by name: the caller's object may have members of its own.
 */
function bytesOf(source) {
  if (types.isTypedArray(source)) {
    const length = apply(viewLength, source, [])
    // A detached or outgrown view has no bytes, and an offset its buffer would refuse.
    if (length === 0) return new Uint8Array(0)
    return new Uint8Array(apply(viewBuffer, source, []), apply(viewOffset, source, []), length)
  }
  if (types.isArrayBuffer(source)) {
    return apply(bufferLength, source, []) === 0 ? new Uint8Array(0) : new Uint8Array(source)
  }
  return undefined
}

/** How many bytes a view has: of all ways the one that takes least where the code is new. */
const lengthOfView = Function.prototype.call.bind(viewLength)

/** How many bytes a BufferSource has; undefined for anything else. */
function lengthOf(source) {
  if (types.isTypedArray(source)) return lengthOfView(source)
  return types.isArrayBuffer(source) ? apply(bufferLength, source, []) : undefined
}

/** Whether a property is a place in a list. */
const isIndex = (key) => typeof key === 'string' && /^[0-9]+$/.test(key)

module.exports = { bytesOf, isIndex, isObject, lengthOf, lengthOfView, observed }
