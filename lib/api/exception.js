'use strict'

// Exceptions at the border: what wasm throws becomes a WebAssembly.Exception, or the JavaScript value that it is, and
// what an import throws becomes an exception of wasm. Payload value k is value k of the arena.
//
// Native numbers the exceptions of a link group; a number is never used again.

const { isNativeError } = require('node:util').types
const { NAMED } = require('./binary.js')
const { native, builtin, helperModule } = require('../process/native.js')
const { NAMES } = require('./signature.js')
const { leaving } = require('./stack.js')
const { JSTag, bindTag, isBound, knownTags, tagAt, tagParams } = require('./tag.js')
const { read, toRaw, write } = require('./value.js')

const { apply } = Reflect
const { Exception } = builtin
const { is, getArg } = Exception.prototype

const unrelated = new builtin.Tag({ parameters: [] })

// Only the built-in's methods know: they throw for whatever has not its brand. Without a stack trace that costs a
// tenth, and most values that are thrown need no trial.
function isException(value) {
  if (typeof value !== 'object' || value === null || isNativeError(value)) return false
  const { stackTraceLimit } = Error
  Reflect.set(Error, 'stackTraceLimit', 0)
  try {
    apply(is, value, [unrelated])
    return true
  } catch {
    return false
  } finally {
    Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
  }
}

// (module (import "" "" (func)) (func (export "f") (result i32)
//   try (result i32) call 0 i32.const 0 catch_all i32.const 1 end))
const CATCH_ALL = Uint8Array.of(
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...[1, 8, 2, 0x60, 0, 0, 0x60, 0, 1, 0x7f],
  ...[2, 5, 1, 0, 0, 0, 0],
  ...[3, 2, 1, 1],
  ...[7, 5, 1, 1, 0x66, 0, 1],
  ...[10, 14, 1, 12, 0, 0x06, 0x7f, 0x10, 0, 0x41, 0, 0x19, 0x41, 1, 0x0b, 0x0b],
  ...NAMED
)

let thrown
let catchAll

function throwAgain() {
  throw thrown
}

/**
 * Whether wasm handlers see `value`. V8 marks the RangeError of a full stack and the errors of its own traps so that
 * none does, and only a handler of the built-in knows (Isolate::is_catchable_by_wasm).
 */
function isCatchable(value) {
  catchAll ??= new builtin.Instance(helperModule(CATCH_ALL), { '': { '': throwAgain } }).exports.f
  thrown = value
  try {
    return catchAll() === 1
  } catch {
    return false
  } finally {
    thrown = undefined
  }
}

/** The Tag of a WebAssembly.Exception. One that was made with the built-in's own has none here. */
function tagOf(group, exception) {
  const isOf = (tag) => apply(is, exception, [tag])
  for (const tag of group.tags.values()) if (isOf(tag)) return tag
  for (const tag of knownTags()) if (isOf(tag)) return tag
  return undefined
}

const isOpaque = (letter) => letter === 'v' || letter === 'x'

const isReadable = (letters) => !letters.some(isOpaque)

// The built-in's getArg knows such a value as the externref that stands in its place (see ./tag.js).
function hideOpaque(exception, letters) {
  const checked = (tag, index) => {
    try {
      const value = apply(getArg, exception, [tag, index])
      const letter = letters[index >>> 0]
      if (isOpaque(letter)) throw new TypeError(`WebAssembly.Exception.getArg(): Invalid type ${NAMES.get(letter)}`)
      return value
    } catch (error) {
      throw leaving(error, checked) // node-do-not-add-exception-line
    }
  }
  Object.defineProperty(exception, 'getArg', { value: checked, writable: true, configurable: true })
}

const payloadOf = (tag, exception, group) =>
  tagParams(tag).map((letter, k) => toRaw(letter, apply(getArg, exception, [tag, k]), group))

/** The exceptions of a link group that JavaScript knows. */
class Exceptions {
  #group
  /** Number -> the value: an exception that goes through JavaScript and back stays the same in both. */
  #values = new Map()
  #numbers = new WeakMap()
  #limit
  /** An exception with a payload that JavaScript cannot read stays in wasm's store for as long as its object lives. */
  #held
  #anonymousTag

  constructor(group) {
    this.#group = group
    this.#limit = native.exceptionLimit(group.handle)
  }

  /** "Create an Exception object from an exception address", or for JSTag the value that was thrown. */
  fromWasm(number, id) {
    if (this.#values.has(number)) return this.#values.get(number)
    const group = this.#group
    const tag = tagAt(group, id)
    if (tag === JSTag) return read('r', 0, group)
    const letters = tagParams(tag)
    const payload = letters.map((letter, k) => (isOpaque(letter) ? undefined : read(letter, k, group)))
    const exception = new Exception(tag, payload)
    if (!isReadable(letters)) {
      hideOpaque(exception, letters)
      this.#hold(exception, number)
    }
    this.#values.set(number, exception)
    this.#numbers.set(exception, number)
    this.#makeRoom()
    return exception
  }

  /**
   * "Run a host function", what it threw: the number of the exception that wasm handlers see; 0 where they see none.
   */
  toWasm(value) {
    try {
      this.#makeRoom()
      return this.#find(value) ?? this.#create(value)
    } catch {
      // The stack is full.
      return 0
    }
  }

  #find(value) {
    const number = this.#numbers.get(value)
    return number !== undefined && native.exceptionIsLive(this.#group.handle, number) ? number : undefined
  }

  #create(value) {
    if (native.isTrap(value)) return 0
    const group = this.#group
    const exception = isException(value)
    if (!exception && !isCatchable(value)) return 0
    const tag = exception ? tagOf(group, value) : JSTag
    let id
    if (tag === JSTag ? !isBound(tag, group) : tag === undefined || !isReadable(tagParams(tag))) {
      // No handler can name the tag, or read what JavaScript could not: only #values knows what was thrown.
      this.#anonymousTag ??= native.tagCreate(group.handle, ':')
      id = this.#anonymousTag
    } else {
      const raws = tag === JSTag ? [value] : payloadOf(tag, value, group)
      id = bindTag(tag, group)
      tagParams(tag).forEach((letter, k) => write(letter, k, raws[k], group))
    }
    const number = native.exceptionCreate(group.handle, id)
    this.#values.set(number, value)
    if (exception) this.#numbers.set(value, number)
    return number
  }

  #makeRoom() {
    this.#group.watch()
    if (this.#values.size >= this.#limit) this.sweep()
  }

  /** Not between the making of an exception and its throwing: nothing holds it then. */
  sweep() {
    if (this.#values.size === 0) return
    const { handle } = this.#group
    const live = new Set(native.liveExceptions(handle))
    for (const number of this.#values.keys()) if (!live.has(number)) this.#values.delete(number)
    this.#limit = this.#values.size + native.exceptionLimit(handle)
  }

  #hold(exception, number) {
    const { handle } = this.#group
    this.#held ??= new FinalizationRegistry((collected) => native.exceptionPin(handle, collected, false))
    native.exceptionPin(handle, number, true)
    this.#held.register(exception, number)
  }
}

module.exports = { Exceptions }
