'use strict'

// Our namespace in the vm contexts that the program makes. The program's objects work there: a Module that is compiled
// outside of a context can be instantiated inside.
//
// A context gets a copy of this package's JavaScript, evaluated in its realm (./evaluate.js); all copies share what is kept of
// an object (./copies.js).

const path = require('node:path')

const { knowRealmOf } = require('../api/stack.js')
const { replaceIn } = require('./enter.js')
const { evaluate } = require('./evaluate.js')

/** Members that are ours, as in ../api/namespace.js; and those that are left out there. */
const REPLACED = ['compile', 'validate', 'instantiate', 'Module', 'Instance', 'Table', 'Memory', 'Global', 'Tag']
const LEFT_OUT = ['Suspending', 'promising', 'SuspendError']

/** Files whose exports belong to no realm. */
const REALMLESS = {
  'api/binary.js': require('../api/binary.js'),
  'process/copies.js': require('./copies.js'),
  'cache/environment.js': require('../cache/environment.js'),
  'events/events.js': require('../events/events.js'),
  'compile/streaming.js': require('../compile/streaming.js'),
}

const FILE = path.join(__dirname, 'engine.js')

/** A copy of this package in the realm of a context. @returns {(name: string) => object} as ./evaluate.js */
function loadInto(context, record) {
  return evaluate(context, FILE, { ...REALMLESS, 'process/realm.js': record })
}

/** Makes the namespace of a new context ours, as soon as it is used. */
function adopt(context, contextObject, compiles) {
  const found = replaceIn(context, contextObject, compiles, REPLACED, (_, record) => {
    const copy = loadInto(context, record)('api/inheritance.js')
    const ready = () => {
      record.installed.unshift(record.original)
      copy.inherit(record.installed.at(-1))
    }
    return { members: copy.namespace, ready }
  })
  if (found === undefined) return
  knowRealmOf(found.error)
  for (const name of LEFT_OUT) Reflect.deleteProperty(found.namespace, name)
}

module.exports = { adopt, knowRealmOf, loadInto }
