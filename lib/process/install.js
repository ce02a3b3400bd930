'use strict'

// Our namespace in the place of globalThis.WebAssembly, and back.
//
// The copy or version that was installed last is in force (see ./realm.js), and each takes only itself away.

const { inherit, namespace } = require('../api/inheritance.js')
const { environment } = require('../cache/environment.js')
const { readEngine } = require('../compile/options.js')
const realm = require('./realm.js')
const { state } = require('../front/state.js')

const { installed, original } = realm

// ../../register.js has loaded it where the program took what it replaces.
const hooks = () => require('./hooks.js')

function putInForce(value) {
  Object.defineProperty(globalThis, 'WebAssembly', { value, writable: true, enumerable: false, configurable: true })
}

const isOurs = (value) => value === original || installed.includes(value)

const front = () => require('../front/namespace.js')

/** What this copy has put in the built-in's place; undefined where it has not. */
const own = () => [namespace, realm.front].find((one) => installed.includes(one))

/**
 * Replaces globalThis.WebAssembly. Again, while installed: nothing happens.
 *
 * @param {{engine?: 'auto' | 'ours' | 'builtin'}} [options]
 */
function install(options = undefined) {
  const engine = readEngine(options, 'install()') ?? environment.engine
  if (own() !== undefined) return
  state.isBuiltin = engine === 'builtin'
  const value = engine === 'ours' ? namespace : (realm.front = front().fill({}))
  installed.push(value)
  inherit(value)
  putInForce(value)
  hooks().install()
}

/** Undoes install(). Objects that were made meanwhile live on, and contexts with what is in them. */
function uninstall() {
  const value = own()
  if (value === undefined) return
  // Somebody else's replacement, put over ours or before us, is not ours to remove.
  const untouched = isOurs(globalThis.WebAssembly)
  installed.splice(installed.indexOf(value), 1)
  state.isBuiltin = environment.engine === 'builtin'
  if (value !== namespace) front().release()
  inherit(installed.at(-1))
  hooks().uninstall()
  if (untouched) putInForce(installed.at(-1) ?? original)
}

inherit(installed.at(-1))

module.exports = { install, uninstall }
