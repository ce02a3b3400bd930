'use strict'

// Instances of the built-in engine, for modules that it compiled in our place, linked with objects of ours.
//
// The built-in engine reads the imports itself, so that order, checks and messages are its own. Of our objects it gets
// what it can use: functions, memories, tags, values of immutable globals, and tables and globals that no instance of
// ours has imported yet.

const { Global, isGlobal, releaseGlobal } = require('./global.js')
const { Memory } = require('./memory.js')
const { builtin, classes } = require('../process/native.js')
const { Table, isTable, releaseTable } = require('./table.js')
const { Tag } = require('./tag.js')
const { isObject, observed } = require('./webidl.js')

const { apply } = Reflect

/** Prototype of the built-in -> ours. */
const PROTOTYPES = new Map(
  Object.entries({ Global, Memory, Table, Tag }).map(([name, ours]) => [builtin[name].prototype, ours.prototype])
)

function cannotCross(where, { module, name }, what) {
  return new classes.LinkError(
    `${where}: Import "${module}" "${name}": ${what} that belongs to an instance compiled by wasm-compile-cache cannot ` +
      'be shared with this one, which the built-in engine compiled; functions, memories and immutable globals that JavaScript can read can'
  )
}

function translate(value, declared, where) {
  if (declared?.kind === 'table' && isTable(value) && !releaseTable(value)) throw cannotCross(where, declared, 'a table')
  if (declared?.kind !== 'global' || !isGlobal(value)) return value
  return releaseGlobal(value, (what) => cannotCross(where, declared, what))
}

/** The imports of a module of the built-in engine: module -> name -> declaration; of those with one name, the first. */
function declarationsOf(module) {
  const declarations = new Map()
  for (const declared of builtin.Module.imports(module)) {
    let members = declarations.get(declared.module)
    if (members === undefined) declarations.set(declared.module, (members = new Map()))
    if (!members.has(declared.name)) members.set(declared.name, declared)
  }
  return declarations
}

/** The import object as the built-in engine sees it. */
function translated(module, importObject, where) {
  if (!isObject(importObject)) return importObject
  const declarations = declarationsOf(module)
  return observed(importObject, (from, members) => {
    if (!isObject(members)) return members
    const declared = declarations.get(from)
    return observed(members, (name, value) => translate(value, declared?.get(name), where))
  })
}

const builtinExports = Object.getOwnPropertyDescriptor(builtin.Instance.prototype, 'exports').get

/** Gives what an instance of the built-in engine exports our prototypes. */
function adoptExports(instance) {
  for (const value of Object.values(apply(builtinExports, instance, []))) {
    if (!isObject(value)) continue
    const ours = PROTOTYPES.get(Object.getPrototypeOf(value))
    if (ours !== undefined) Object.setPrototypeOf(value, ours)
  }
  return instance
}

/** `new WebAssembly.Instance`, with the built-in's prototype. */
function newBuiltinInstance(module, importObject) {
  const imports = translated(module, importObject, 'WebAssembly.Instance()')
  return adoptExports(new builtin.Instance(module, imports))
}

/** "Asynchronously instantiate a WebAssembly module", the same. */
async function instantiateBuiltin(module, importObject) {
  const imports = translated(module, importObject, 'WebAssembly.instantiate()')
  return adoptExports(await builtin.instantiate(module, imports))
}

module.exports = { builtinExports, instantiateBuiltin, newBuiltinInstance }
