'use strict'

// The WebAssembly namespace object, complete and with the property attributes of the built-in one.

const { types } = require('node:util')

const { compileInBackground } = require('./compile.js')
const { Global } = require('./global.js')
const { Instance, checkImportObject, newInstance, readImports } = require('./instance.js')
const { Memory } = require('./memory.js')
const { Module, isModule, moduleFromHandle } = require('./module.js')
const { native, builtin, classes } = require('./native.js')
const { readOptions } = require('./options.js')
const { makeStreaming } = require('./streaming.js')
const { Table } = require('./table.js')
const { Tag } = require('./tag.js')
const { bytesOf, isObject } = require('./webidl.js')

const INSTANTIATE = 'WebAssembly.instantiate()'

const streaming = makeStreaming({
  native,
  moduleFromHandle,
  readOptions,
  instantiateModule: (module, importObject) =>
    newInstance(module, readImports(module, importObject, INSTANTIATE), INSTANTIATE),
})

/** "Asynchronously instantiate a WebAssembly module". The specification queues a task for step 4, V8 does it now. */
async function instantiateModule(module, importObject) {
  checkImportObject(importObject, INSTANTIATE)
  return newInstance(module, readImports(module, importObject, INSTANTIATE), INSTANTIATE)
}

/** "Instantiate a promise of a module": the imports are read when the module is there. */
async function instantiateBytes(bytes, importObject, options) {
  if (bytesOf(bytes) === undefined) {
    // V8 mentions the Module to what is no object, or a Proxy.
    const or = isObject(bytes) && !types.isProxy(bytes) ? '' : ' or a WebAssembly.Module object'
    throw new TypeError(`${INSTANTIATE}: Argument 0 must be a buffer source${or}`)
  }
  checkImportObject(importObject, INSTANTIATE)
  const read = readOptions(options, INSTANTIATE)
  const module = moduleFromHandle(await compileInBackground(bytes, read, INSTANTIATE))
  const values = readImports(module, importObject, INSTANTIATE)
  return { module, instance: newInstance(module, values, INSTANTIATE) }
}

async function compileBytes(bytes, options) {
  const where = 'WebAssembly.compile()'
  return moduleFromHandle(await compileInBackground(bytes, readOptions(options, where), where))
}


// Optional parameters have defaults, so that `length` counts the required ones. None is an async function itself: those
// have another prototype. Each promise comes from one async function, for more would ask the result for its `then` again.
const operations = {
  compile(bytes, options = undefined) {
    return compileBytes(bytes, options)
  },

  validate(bytes, options = undefined) {
    const where = 'WebAssembly.validate()'
    const view = bytesOf(bytes)
    if (view === undefined) throw new TypeError(`${where}: Argument 0 must be a buffer source`)
    readOptions(options, where)
    return view.length > 0 && native.validate(view)
  },

  instantiate(source, importObject = undefined, options = undefined) {
    return isModule(source) ? instantiateModule(source, importObject) : instantiateBytes(source, importObject, options)
  },

  ...streaming,
}

const interfaces = {
  Module,
  Instance,
  Table,
  Memory,
  Global,
  Tag,
  ...(builtin.JSTag === undefined ? {} : { JSTag: builtin.JSTag }),
  Exception: classes.Exception,
  CompileError: classes.CompileError,
  LinkError: classes.LinkError,
  RuntimeError: classes.RuntimeError,
}

// As the built-in has them: in its order, constructors not enumerable, JSTag read-only. Where Node put no streaming
// functions (in a vm context), ours come last.
const namespace = {}
const members = { ...operations, ...interfaces, [Symbol.toStringTag]: 'WebAssembly' }
for (const name of new Set([...Reflect.ownKeys(builtin), ...Reflect.ownKeys(members)])) {
  if (!Object.hasOwn(members, name)) continue
  const attributes = Object.getOwnPropertyDescriptor(builtin, name) ?? { writable: true, enumerable: true, configurable: true }
  Object.defineProperty(namespace, name, { ...attributes, value: members[name] })
}

module.exports = namespace
