'use strict'

// The WebAssembly namespace object, complete and with the property attributes of the built-in one.

const path = require('node:path')
const { types } = require('node:util')

const { compileInBackground } = require('../compile/compilation.js')
const fallback = require('../compile/fallback.js')
const { Global } = require('./global.js')
const { Instance, checkImportObject, newInstance, readImports } = require('./instance.js')
const { Memory } = require('./memory.js')
const { instantiateBuiltin } = require('./link-builtin.js')
const { Module, describeModule, isModule, moduleOf } = require('./module.js')
const { native, builtin } = require('../process/native.js')
const { readOptions } = require('../compile/options.js')
const realm = require('../process/realm.js')
const { leaving } = require('./stack.js')
const { makeStreaming } = require('../compile/streaming.js')
const { Table } = require('./table.js')
const { Tag } = require('./tag.js')
const { bytesOf, isObject } = require('./webidl.js')

const INSTANTIATE = 'WebAssembly.instantiate()'

const streaming = makeStreaming({
  native,
  moduleOf,
  readOptions,
  instantiateModule: (module, importObject) => instantiateCompiled(module, importObject),
})

/** In the job in which the module is there: its imports are read and it is instantiated. An Instance, or its promise. */
function instantiateCompiled(module, importObject) {
  if (describeModule(module) === undefined) return instantiateFallback(module, importObject)
  return newInstance(module, readImports(module, importObject, INSTANTIATE), INSTANTIATE)
}

async function instantiateFallback(module, importObject) {
  try {
    return Object.setPrototypeOf(await instantiateBuiltin(module, importObject), Instance.prototype)
  } catch (error) {
    throw leaving(error, operations.instantiate) // node-do-not-add-exception-line
  }
}

/** "Asynchronously instantiate a WebAssembly module". The specification queues a task for step 4, V8 does it now. */
async function instantiateModule(module, importObject) {
  try {
    if (describeModule(module) !== undefined) checkImportObject(importObject, INSTANTIATE)
    return instantiateCompiled(module, importObject)
  } catch (error) {
    throw leaving(error, operations.instantiate) // node-do-not-add-exception-line
  }
}

/** "Instantiate a promise of a module": the imports are read when the module is there. */
async function instantiateBytes(bytes, importObject, options) {
  try {
    if (bytesOf(bytes) === undefined) {
      // V8 mentions the Module to what is no object, or a Proxy.
      const or = isObject(bytes) && !types.isProxy(bytes) ? '' : ' or a WebAssembly.Module object'
      throw new TypeError(`${INSTANTIATE}: Argument 0 must be a buffer source${or}`)
    }
    checkImportObject(importObject, INSTANTIATE)
    const read = readOptions(options, INSTANTIATE)
    const module = moduleOf(await compileInBackground(bytes, read, INSTANTIATE))
    const instance = instantiateCompiled(module, importObject)
    // Awaiting an Instance would read its `then`.
    return { module, instance: types.isPromise(instance) ? await instance : instance }
  } catch (error) {
    throw leaving(error, operations.instantiate) // node-do-not-add-exception-line
  }
}

async function compileBytes(bytes, options) {
  try {
    const where = 'WebAssembly.compile()'
    return moduleOf(await compileInBackground(bytes, readOptions(options, where), where))
  } catch (error) {
    throw leaving(error, operations.compile) // node-do-not-add-exception-line
  }
}

// Optional parameters have defaults, so that `length` counts the required ones. None is an async function itself: those
// have another prototype. Each promise comes from one async function: another one would read `then` of the result
// again.
const operations = {
  compile(bytes, options = undefined) {
    return compileBytes(bytes, options)
  },

  validate(bytes, options = undefined) {
    try {
      const where = 'WebAssembly.validate()'
      const view = bytesOf(bytes)
      if (view === undefined) throw new TypeError(`${where}: Argument 0 must be a buffer source`)
      const read = readOptions(options, where)
      return view.length > 0 && fallback.validate(view, read)
    } catch (error) {
      throw leaving(error, operations.validate) // node-do-not-add-exception-line
    }
  },

  instantiate(source, importObject = undefined, options = undefined) {
    return isModule(source) ? instantiateModule(source, importObject) : instantiateBytes(source, importObject, options)
  },

  ...streaming,
}

const interfaces = { Module, Instance, Table, Memory, Global, Tag }

// Stack switching: without these, programs that look for it use what works on this engine.
const LEFT_OUT = ['Suspending', 'promising', 'SuspendError']

// In the order and with the attributes of the built-in one. Where Node put no streaming functions (in a vm context), ours
// come last. Everything that is not listed above (the errors, JSTag, what a newer V8 adds) is the built-in's.
//
// ../../register.js has put an object in the built-in's place that waits for this.
const isWaitedFor = realm.waiting?.from === path.dirname(__dirname)
const namespace = isWaitedFor ? realm.waiting.namespace : {}
if (isWaitedFor) realm.waiting = undefined
const members = { ...operations, ...interfaces }
for (const name of new Set([...Reflect.ownKeys(builtin), ...Reflect.ownKeys(members)])) {
  if (LEFT_OUT.includes(name)) continue
  const attributes = Object.getOwnPropertyDescriptor(builtin, name) ?? { writable: true, enumerable: true, configurable: true }
  Object.defineProperty(namespace, name, Object.hasOwn(members, name) ? { ...attributes, value: members[name] } : attributes)
}

module.exports = namespace
