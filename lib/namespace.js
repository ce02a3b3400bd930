'use strict'

// The WebAssembly namespace object, complete and with the property attributes of the built-in one.

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
const { bytesOf } = require('./webidl.js')

const INSTANTIATE = 'WebAssembly.instantiate()'

const streaming = makeStreaming({
  native,
  moduleFromHandle,
  readOptions,
  instantiateModule: (module, importObject) =>
    newInstance(module, readImports(module, importObject, INSTANTIATE), INSTANTIATE),
})

/** "Asynchronously instantiate a WebAssembly module": the imports are read now, the rest happens in a later job. */
async function instantiateModule(module, importObject) {
  const values = readImports(module, importObject, INSTANTIATE)
  await undefined
  return newInstance(module, values, INSTANTIATE)
}

/** "Instantiate a promise of a module": the imports are read when the module is there. */
async function instantiateBytes(bytes, importObject, options) {
  const read = readOptions(options, INSTANTIATE)
  const module = moduleFromHandle(await compileInBackground(bytes, read, INSTANTIATE))
  const values = readImports(module, importObject, INSTANTIATE)
  return { module, instance: newInstance(module, values, INSTANTIATE) }
}

// Optional parameters have defaults, so that `length` counts the required ones.
const operations = {
  async compile(bytes, options = undefined) {
    const where = 'WebAssembly.compile()'
    return moduleFromHandle(await compileInBackground(bytes, readOptions(options, where), where))
  },

  validate(bytes, options = undefined) {
    const where = 'WebAssembly.validate()'
    const view = bytesOf(bytes)
    if (view === undefined) throw new TypeError(`${where}: Argument 0 must be a buffer source`)
    readOptions(options, where)
    return view.length > 0 && native.validate(view)
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

const namespace = { ...operations }
for (const [name, value] of Object.entries(interfaces)) {
  // As the built-in has it: constructors are not enumerable, and JSTag is read-only where it is.
  const attributes = Object.getOwnPropertyDescriptor(builtin, name)
  Object.defineProperty(namespace, name, { ...attributes, value })
}
Object.defineProperty(namespace, Symbol.toStringTag, { value: 'WebAssembly', configurable: true })

module.exports = namespace
