'use strict'

// The functions of the namespace, for one that asks which engine is the better one (`auto`), and one that does not.

const { types } = require('node:util')

const { compileInBackground } = require('../compile/compilation.js')
const fallback = require('../compile/fallback.js')
const { Instance, checkImportObject, instantiateTheirs, newInstance, readImports } = require('./instance.js')
const { Module, describeModule, isModule, moduleOf } = require('./module.js')
const { native, builtin } = require('../process/native.js')
const { readOptions } = require('../compile/options.js')
const { leaving } = require('./stack.js')
const { makeStreaming } = require('../compile/streaming.js')
const { bytesOf, isObject } = require('./dictionary.js')

const INSTANTIATE = 'WebAssembly.instantiate()'

/**
 * @param {'auto' | 'ours'} engine what counts where the caller's options name none; 'auto' gives what the built-in's namespace
 *   would, with the built-in's prototypes
 */
function makeOperations(engine) {
  const isAuto = engine === 'auto'
  const { prototype } = isAuto ? builtin.Instance : Instance
  const self = Object.create((isAuto ? builtin.Module : Module).prototype)

  const read = (options, where) => readOptions(options, where, engine)
  const toModule = (compiled) => moduleOf(compiled, self)

  const streaming = makeStreaming({
    native,
    moduleOf: toModule,
    readOptions: read,
    instantiateModule: (module, importObject) => instantiateCompiled(module, importObject),
  })

  /** In the job in which the module is there: its imports are read and it is instantiated. An Instance, or its promise. */
  function instantiateCompiled(module, importObject) {
    if (describeModule(module) === undefined) return instantiateFallback(module, importObject)
    return newInstance(module, readImports(module, importObject, INSTANTIATE), INSTANTIATE, prototype)
  }

  async function instantiateFallback(module, importObject) {
    try {
      return await instantiateTheirs(module, importObject, prototype, INSTANTIATE)
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
      const own = read(options, INSTANTIATE)
      const module = toModule(await compileInBackground(bytes, own, INSTANTIATE))
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
      return toModule(await compileInBackground(bytes, read(options, where), where))
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
        const own = read(options, where)
        return view.length > 0 && fallback.validate(view, own)
      } catch (error) {
        throw leaving(error, operations.validate) // node-do-not-add-exception-line
      }
    },

    instantiate(source, importObject = undefined, options = undefined) {
      return isModule(source) ? instantiateModule(source, importObject) : instantiateBytes(source, importObject, options)
    },

    ...streaming,
  }

  return operations
}

module.exports = { makeOperations }
