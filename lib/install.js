'use strict'

// Our namespace in the place of globalThis.WebAssembly, and back.
//
// Copies and versions of this package that are loaded in one realm share the record of ./realm.js: the one that was
// installed last is in force, and whoever leaves takes nothing but itself away.

const namespace = require('./namespace.js')
const { builtin, installed, parents } = require('./realm.js')
const threads = require('./threads.js')

// What another thread sends, V8 makes with the built-in's prototypes.
const SENT = ['Memory', 'Module']

// What the built-in engine takes from us as its own.
const SHARED = ['Memory', 'Tag']

/**
 * Makes `instanceof` right. While a namespace is in force, the built-in's prototypes inherit from its, so that a Memory
 * or a Module that another thread sent is an instance of its classes. While none is, it is the other way round, so that
 * our memories and tags are instances of the built-in's classes.
 */
function inherit(inForce) {
  for (const name of SENT) Object.setPrototypeOf(builtin[name].prototype, parents[name])
  for (const name of SHARED) {
    const { prototype } = namespace[name]
    Object.setPrototypeOf(prototype, inForce === undefined ? builtin[name].prototype : parents[name])
  }
  // The one object that the built-in has made already.
  if (builtin.JSTag !== undefined) Object.setPrototypeOf(builtin.JSTag, (inForce ?? builtin).Tag.prototype)
  if (inForce === undefined) return
  for (const name of SENT) Object.setPrototypeOf(builtin[name].prototype, inForce[name].prototype)
}

function putInForce(value) {
  Object.defineProperty(globalThis, 'WebAssembly', { value, writable: true, enumerable: false, configurable: true })
}

const isOurs = (value) => value === builtin || installed.includes(value)

/** Replaces globalThis.WebAssembly. Again, while installed: nothing happens. */
function install() {
  if (installed.includes(namespace)) return
  installed.push(namespace)
  inherit(namespace)
  putInForce(namespace)
  threads.install()
}

/** Undoes install(). Objects that were made meanwhile live on. */
function uninstall() {
  const index = installed.indexOf(namespace)
  if (index === -1) return
  // Somebody else's replacement, put over ours or before us, is not ours to remove.
  const untouched = isOurs(globalThis.WebAssembly)
  installed.splice(index, 1)
  inherit(installed.at(-1))
  threads.uninstall()
  if (untouched) putInForce(installed.at(-1) ?? builtin)
}

if (installed.length === 0) inherit(undefined)

module.exports = { install, uninstall }
