'use strict'

// Keeps `instanceof` right for objects that V8 made, or takes from us.

const namespace = require('./namespace.js')
const realm = require('../process/realm.js')
const { parentsOf } = require('../process/realms.js')

// What another thread sends, V8 makes with the built-in's prototypes.
const SENT = ['Memory', 'Module']

// What the built-in engine takes from us as its own.
const SHARED = ['Memory', 'Tag']

const { builtin } = realm
const parents = parentsOf(realm)

/** All that a program may compare with the classes of ../front/namespace.js, which have the built-in's prototypes. */
const CLASSES = ['Module', 'Instance', 'Table', 'Memory', 'Global', 'Tag']

function inheritFromBuiltin(name) {
  Object.setPrototypeOf(namespace[name].prototype, builtin[name].prototype)
}

/**
 * While a namespace is in force, the built-in's prototypes inherit from its, so that a Memory or a Module that another
 * thread sent is an instance of its classes. While none is, it is the other way round, so that our memories and tags are
 * instances of the built-in's classes.
 *
 * @param {object} [inForce]
 */
function inherit(inForce) {
  for (const name of SENT) Object.setPrototypeOf(builtin[name].prototype, parents[name])
  for (const name of CLASSES) Object.setPrototypeOf(namespace[name].prototype, parents[name])
  if (inForce === undefined) for (const name of SHARED) inheritFromBuiltin(name)
  if (realm.isAuto) CLASSES.forEach(inheritFromBuiltin)
  // The one object that the built-in has made already.
  const { Tag } = realm.isAuto || inForce === undefined ? builtin : inForce
  if (builtin.JSTag !== undefined) Object.setPrototypeOf(builtin.JSTag, Tag.prototype)
  if (realm.isAuto || inForce === undefined) return
  for (const name of SENT) Object.setPrototypeOf(builtin[name].prototype, inForce[name].prototype)
}

module.exports = { inherit, namespace }
