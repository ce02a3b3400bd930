'use strict'

// Instances of the built-in engine, for modules that it compiled in our place, linked with objects of ours.
//
// The built-in engine reads the imports itself, so that order, checks and messages are its own. Of our objects it gets
// what it can use: functions, memories, tags, values of immutable globals, and tables and globals that no instance of
// ours has imported yet.

const { Global, isGlobal, isTied, releaseGlobal } = require('./global.js')
const { describeFunction } = require('./function.js')
const { Memory, isAttached } = require('./memory.js')
const { keptOf, state: front } = require('../front/state.js')
const { builtin, classes } = require('../process/native.js')
const { Table, isBuiltinTable, isTable, releaseTable, tableGroup } = require('./table.js')
const { Tag } = require('./tag.js')
const { isObject, observed } = require('./dictionary.js')
const { CODE, firstOf } = require('./sections.js')

const { apply } = Reflect

/** Modules below this are not cached. */
const SMALL = 131072 // bytes

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

/**
 * What a module of the built-in engine imports, read once, in the order in which that engine reads; up to where it would
 * stop.
 *
 * @returns {{declared: object, from?: unknown, value?: unknown, thrown?: {error: unknown}}[]}
 */
function readFor(module, importObject) {
  const reads = []
  for (const declared of builtin.Module.imports(module)) {
    const read = { declared }
    reads.push(read)
    try {
      read.from = importObject[declared.module]
      if (!isObject(read.from)) break
      read.value = read.from[declared.name]
    } catch (error) {
      read.thrown = { error }
      break
    }
  }
  return reads
}

/** An import object that gives what was read, in that order. */
function replayed(reads, convert = (value) => value) {
  let next = 0
  const give = ({ thrown, value, declared }) => {
    if (thrown !== undefined) throw thrown.error
    return convert(value, declared)
  }
  return new Proxy(
    {},
    {
      get() {
        const read = reads[next++]
        if (!('from' in read)) throw read.thrown.error
        return isObject(read.from) ? new Proxy({}, { get: () => give(read) }) : read.from
      },
    }
  )
}

/** Whether an instance of ours has it, in a form that the built-in engine cannot import. */
const isHeld = ({ declared, value }) =>
  (declared.kind === 'table' && isTable(value) && tableGroup(value) !== null) ||
  (declared.kind === 'global' && isGlobal(value) && isTied(value))

/** Whether it is of an instance of ours at all. */
const isOfOurs = ({ value }) => isAttached(value) || describeFunction(value) !== undefined

/** Whether a valid module has functions of its own. */
const hasCode = (bytes) => firstOf(bytes, [CODE]) === CODE

/**
 * Whether a module of the built-in engine is better made one of ours: it has to where only instances of ours can share what it
 * imports. A small one does where it joins theirs, so that its functions can be put into their tables; and where it only
 * gives the program's functions another form, as Emscripten's addFunction does.
 */
const follows = (bytes, reads) => reads.some(isHeld) || (bytes.length < SMALL && (reads.some(isOfOurs) || !hasCode(bytes)))

/**
 * How a module of the built-in engine is linked where there are objects of ours: by that engine, with these imports; or, where
 * there are `bytes`, as a module of ours that is made of them.
 */
function linked(module, importObject, where) {
  const reads = isObject(importObject) ? readFor(module, importObject) : []
  const bytes = keptOf(module)
  if (bytes !== undefined && reads.every(({ thrown }) => thrown === undefined) && follows(bytes, reads)) {
    return { bytes, imports: isObject(importObject) ? replayed(reads) : importObject }
  }
  return { imports: importsOf(reads, importObject, where) }
}

/** The imports as the built-in engine gets them. */
function importsOf(reads, importObject, where) {
  if (!isObject(importObject)) return importObject
  for (const { value } of reads) if (isObject(value)) front.fresh.delete(value)
  return replayed(reads, (value, declared) => translate(value, declared, where))
}

const builtinExports = Object.getOwnPropertyDescriptor(builtin.Instance.prototype, 'exports').get

/** Gives what an instance of the built-in engine exports our prototypes. */
function adoptExports(instance) {
  for (const value of Object.values(apply(builtinExports, instance, []))) {
    if (!isObject(value)) continue
    const ours = PROTOTYPES.get(Object.getPrototypeOf(value))
    if (ours !== undefined) Object.setPrototypeOf(value, ours)
    if (isBuiltinTable(value)) front.hasOtherTables = true
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

module.exports = { builtinExports, instantiateBuiltin, linked, newBuiltinInstance }
