'use strict'

// Our namespace in the place of globalThis.WebAssembly, and back.
//
// The copy or version that was installed last is in force (see ./realm.js), and each takes only itself away.

const { inherit, namespace } = require('../api/inheritance.js')
const { installed, original } = require('./realm.js')

// ../../register.js has loaded it where the program took what it replaces.
const hooks = () => require('./hooks.js')

function putInForce(value) {
  Object.defineProperty(globalThis, 'WebAssembly', { value, writable: true, enumerable: false, configurable: true })
}

const isOurs = (value) => value === original || installed.includes(value)

/** Replaces globalThis.WebAssembly. Again, while installed: nothing happens. */
function install() {
  if (installed.includes(namespace)) return
  installed.push(namespace)
  inherit(namespace)
  putInForce(namespace)
  hooks().install()
}

/** Undoes install(). Objects that were made meanwhile live on, and contexts with what is in them. */
function uninstall() {
  const index = installed.indexOf(namespace)
  if (index === -1) return
  // Somebody else's replacement, put over ours or before us, is not ours to remove.
  const untouched = isOurs(globalThis.WebAssembly)
  installed.splice(index, 1)
  inherit(installed.at(-1))
  hooks().uninstall()
  if (untouched) putInForce(installed.at(-1) ?? original)
}

inherit(installed.at(-1))

module.exports = { install, uninstall }
