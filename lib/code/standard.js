'use strict'

// The options that the standard has for a compile (JS API, WebAssemblyCompileOptions): by them the built-in engine resolves
// imports itself, so that they shape its code. Here they are a text, a part of what a module and its code are known by.

const { types } = require('node:util')

const { isObject } = require('../api/dictionary.js')

/** As in V8, which reads them in this order. */
const NAMES = ['builtins', 'importedStringConstants']

/** A text that is longer is nobody's. */
const LONGEST = 1024

/** What stands for a member that nobody can read without running what is the program's, or that says nothing to V8. */
const UNREADABLE = Symbol('unreadable')

const { getOwnPropertyDescriptor, getPrototypeOf } = Object

/** An object's own member; undefined where there is none, and none that it inherits. */
function read(object, name) {
  const property = getOwnPropertyDescriptor(object, name)
  if (property !== undefined) return 'value' in property ? property.value : UNREADABLE
  return name in object ? UNREADABLE : undefined
}

/** Of an object without surprises: not a proxy, and no more than one prototype above it. */
function isSimple(object) {
  if (types.isProxy(object)) return false
  const parent = getPrototypeOf(object)
  return parent === null || (!types.isProxy(parent) && getPrototypeOf(parent) === null)
}

function readBuiltins(list) {
  if (list === undefined || list === UNREADABLE) return list
  if (types.isProxy(list) || !Array.isArray(list)) return UNREADABLE
  const names = Array.from({ length: Math.min(list.length, LONGEST) }, (_, index) => read(list, `${index}`))
  if (!names.every((name) => typeof name === 'string')) return UNREADABLE
  return names.length === 0 ? undefined : names
}

function readConstants(name) {
  return name === undefined || typeof name === 'string' ? name : UNREADABLE
}

const READERS = { builtins: readBuiltins, importedStringConstants: readConstants }

/**
 * @param {unknown} options as a program passes them
 * @returns {string | undefined} '' where there are none; undefined where they cannot be known without running what is the program's
 */
function textOf(options) {
  if (!isObject(options)) return ''
  if (!isSimple(options)) return undefined
  const members = NAMES.map((name) => [name, READERS[name](read(options, name))])
  if (members.some(([, value]) => value === UNREADABLE)) return undefined
  const given = members.filter(([, value]) => value !== undefined)
  if (given.length === 0) return ''
  const text = JSON.stringify(Object.fromEntries(given))
  return text.length > LONGEST ? undefined : text
}

/** The same back. */
const optionsOf = (text) => (text === '' ? undefined : JSON.parse(text))

module.exports = { optionsOf, textOf }
