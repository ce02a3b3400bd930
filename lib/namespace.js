'use strict'

// The WebAssembly namespace object, complete and with the property attributes of the built-in one.

const { compileInBackground } = require('./compile.js')
const fallback = require('./fallback.js')
const { Global } = require('./global.js')
const { Instance, checkImportObject, newInstance, readImports } = require('./instance.js')
const { Memory } = require('./memory.js')
const { instantiateBuiltin } = require('./link-builtin.js')
const { Module, describeModule, isModule, moduleOf } = require('./module.js')
const { native, builtin } = require('./native.js')
const { readOptions } = require('./options.js')
const { makeStreaming } = require('./streaming.js')
const { Table } = require('./table.js')
const { Tag } = require('./tag.js')
const { bytesOf } = require('./webidl.js')

const INSTANTIATE = 'WebAssembly.instantiate()'

const streaming = makeStreaming({
  native,
  moduleOf,
  readOptions,
  instantiateModule: (module, importObject) => instantiateCompiled(module, importObject),
})

/** In the job in which the module is there: its imports are read and it is instantiated. */
function instantiateCompiled(module, importObject) {
  if (describeModule(module) === undefined) return instantiateBuiltin(module, importObject, Instance)
  return newInstance(module, readImports(module, importObject, INSTANTIATE), INSTANTIATE)
}

/** "Asynchronously instantiate a WebAssembly module": the imports are read now, the rest happens in a later job. */
async function instantiateModule(module, importObject) {
  if (describeModule(module) === undefined) return instantiateBuiltin(module, importObject, Instance)
  const values = readImports(module, importObject, INSTANTIATE)
  await undefined
  return newInstance(module, values, INSTANTIATE)
}

/** "Instantiate a promise of a module": the imports are read when the module is there. */
async function instantiateBytes(bytes, importObject, options) {
  const read = readOptions(options, INSTANTIATE)
  const module = moduleOf(await compileInBackground(bytes, read, INSTANTIATE))
  return { module, instance: await instantiateCompiled(module, importObject) }
}

// Optional parameters have defaults, so that `length` counts the required ones.
const operations = {
  async compile(bytes, options = undefined) {
    const where = 'WebAssembly.compile()'
    return moduleOf(await compileInBackground(bytes, readOptions(options, where), where))
  },

  validate(bytes, options = undefined) {
    const where = 'WebAssembly.validate()'
    const view = bytesOf(bytes)
    if (view === undefined) throw new TypeError(`${where}: Argument 0 must be a buffer source`)
    const read = readOptions(options, where)
    return view.length > 0 && fallback.validate(view, read)
  },

  async instantiate(source, importObject = undefined, options = undefined) {
    const module = isModule(source)
    if (!module && bytesOf(source) === undefined) {
      throw new TypeError(`${INSTANTIATE}: Argument 0 must be a buffer source or a WebAssembly.Module object`)
    }
    checkImportObject(importObject, INSTANTIATE)
    return module ? instantiateModule(source, importObject) : instantiateBytes(source, importObject, options)
  },

  ...streaming,
}

// Everything that is not listed (the errors, JSTag, what a newer V8 adds) is the built-in's.
const interfaces = { Module, Instance, Table, Memory, Global, Tag }

// Stack switching: without these, programs that look for it use what works on this engine.
const LEFT_OUT = ['Suspending', 'promising', 'SuspendError']

// In the order and with the attributes of the built-in one.
const namespace = {}
for (const name of Reflect.ownKeys(builtin)) {
  if (LEFT_OUT.includes(name)) continue
  const attributes = Object.getOwnPropertyDescriptor(builtin, name)
  const member = operations[name] ?? interfaces[name]
  Object.defineProperty(namespace, name, member === undefined ? attributes : { ...attributes, value: member })
}

module.exports = namespace
