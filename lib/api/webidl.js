'use strict'

// WebIDL as the JS API needs it: the shape of an interface and the conversions of arguments, in V8's words.

const realm = require('../process/realm.js')
const { parentsOf } = require('../process/realms.js')

const { apply } = Reflect
const { builtin } = realm
const parents = parentsOf(realm)

/** The major version of V8, whose words and shapes differ. */
const v8 = Number.parseInt(process.versions.v8, 10)

/** V8 up to 13 makes its constructors and its exported functions as sloppy-mode functions, which have these. */
const SLOPPY = Object.fromEntries(
  ['arguments', 'caller']
    .map((name) => [name, Object.getOwnPropertyDescriptor(builtin.Module, name)])
    .filter(([, descriptor]) => descriptor !== undefined)
)

/**
 * Gives a constructor the property attributes of a WebIDL interface.
 *
 * @param {Function} constructor
 * @param {string} tag the class string
 * @param {object} members methods and accessors of the prototype; from an object literal they are enumerable, have no
 *   [[Construct]], and their `name` and `length` are right
 * @param {object} statics
 * @returns {object} the members and statics by their functions' names (`get value`), whatever becomes of the properties
 */
function defineInterface(constructor, tag, members, statics = {}) {
  const { prototype } = constructor
  Object.defineProperties(prototype, Object.getOwnPropertyDescriptors(members))
  Object.defineProperty(prototype, Symbol.toStringTag, { value: tag, configurable: true })
  Object.defineProperty(prototype, 'constructor', { value: constructor, writable: true, configurable: true })
  Object.defineProperty(constructor, 'prototype', { writable: false })
  Object.defineProperties(constructor, Object.getOwnPropertyDescriptors(statics))
  resemble(constructor)
  return Object.fromEntries([members, statics].flatMap(functionsOf).map((fn) => [fn.name, fn]))
}

const functionsOf = (object) =>
  Object.values(Object.getOwnPropertyDescriptors(object))
    .flatMap(({ value, get, set }) => [value, get, set])
    .filter((member) => member !== undefined)

/** What V8's constructors have beside that: `arguments` and `caller` before 14, a parent (Module, from 13 on). */
function resemble(constructor) {
  const { name } = constructor
  Object.defineProperties(constructor, SLOPPY)
  Object.setPrototypeOf(constructor, Object.getPrototypeOf(builtin[name]))
  Object.setPrototypeOf(constructor.prototype, parents[name])
}

/** Whether a member of the built-in does not throw, as it does for what has not its class's brand. */
function accepts(member, receiver, list = []) {
  try {
    apply(member, receiver, list)
    return true
  } catch {
    return false
  }
}

/** The object that the built-in constructor made, with the prototype that `new` found for `self`. */
const inheriting = (object, self) => Object.setPrototypeOf(object, Object.getPrototypeOf(self))

function requireNew(target, name) {
  if (target === undefined) throw new TypeError(`WebAssembly.${name}(): WebAssembly.${name} must be invoked with 'new'`)
}

/** [EnforceRange] unsigned long. Web IDL truncates before it looks at the range; V8 after, and so refuses -0.5. */
function toUnsignedLong(value, subject) {
  const number = typeof value === 'number' ? value : +value
  if (!Number.isFinite(number)) throw new TypeError(`${subject} must be convertible to a valid number`)
  if (number < 0) throw new TypeError(`${subject} must be non-negative`)
  if (number > 0xffffffff) throw new TypeError(`${subject} must be in the unsigned long range`)
  return Math.trunc(number) + 0 // -0 becomes 0
}

module.exports = { SLOPPY, accepts, defineInterface, inheriting, requireNew, toUnsignedLong, v8 }
