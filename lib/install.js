'use strict'

// Our namespace in the place of globalThis.WebAssembly, and back.
//
// Copies and versions of this package that are loaded in one realm share the record of ./realm.js: the one that was
// installed last is in force, and whoever leaves takes nothing but itself away.

const namespace = require('./namespace.js')
const { builtin, installed } = require('./realm.js')

const isOurs = (value) => value === builtin || installed.includes(value)

// Somebody else's replacement, put over ours or before us, is not ours to remove.
function putInForce(value) {
  Object.defineProperty(globalThis, 'WebAssembly', { value, writable: true, enumerable: false, configurable: true })
}

/** Replaces globalThis.WebAssembly. Again, while installed: nothing happens. */
function install() {
  if (installed.includes(namespace)) return
  installed.push(namespace)
  putInForce(namespace)
}

/** Undoes install(). Objects that were made meanwhile live on. */
function uninstall() {
  const index = installed.indexOf(namespace)
  if (index === -1) return
  const untouched = isOurs(globalThis.WebAssembly)
  installed.splice(index, 1)
  if (untouched) putInForce(installed.at(-1) ?? builtin)
}

module.exports = { install, uninstall }
