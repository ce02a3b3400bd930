'use strict'

// WebAssembly.Table.
//
// A table made by JavaScript keeps its elements in an Array until an instance imports it, for until then nothing says
// which link group it belongs to. From then on it lives in that group's store.

const { native, classes } = require('./native.js')
const { describeFunction } = require('./function.js')
const { NOT_A_FUNCTION, referenceToJS, toRaw } = require('./value.js')
const { defineInterface, isObject, requireNew, toLimit, toUnsignedLong } = require('./webidl.js')

// https://webassembly.github.io/spec/js-api/#limits
const MAX_ELEMENTS = 10_000_000
const NO_MAXIMUM = 0xffffffff

const ELEMENTS = new Map([
  ['anyfunc', 'c'],
  ['externref', 'r'],
])

const TYPE_NAMES = { c: 'funcref', r: 'externref' }

/** Table -> {element, maximum, values (while unbound), group, id}. */
const states = new WeakMap()

const isTable = (value) => states.has(value)

const tableGroup = (table) => states.get(table).group

/** The group of the first element that has one; undefined for a table that is bound or has none. */
function suggestedGroup(table) {
  const element = states.get(table).values?.find((value) => describeFunction(value) !== undefined)
  return describeFunction(element)?.group
}

function stateOf(table, method) {
  const state = states.get(table)
  if (state === undefined) throw new TypeError(`WebAssembly.Table.${method}(): Receiver is not a WebAssembly.Table`)
  return state
}

const sizeOf = (state) => (state.group === null ? state.values.length : native.tableSize(state.group.handle, state.id))

const defaultOf = (state) => (state.element === 'r' ? undefined : null)

const fits = (state, value) => state.element === 'r' || value === null || describeFunction(value) !== undefined

// Three wordings, from V8 13 on, of 12 (Node 22), and before (Node 20).
const v8 = Number.parseInt(process.versions.v8, 10)
const outOfBounds =
  v8 >= 13
    ? (index, type, size) => `invalid address ${index} in ${type} table of size ${size}`
    : (index, type, size) => `invalid index ${index} into ${v8 === 12 ? `${type} table of size ${size}` : 'function table'}`

function checkIndex(state, index, method) {
  const size = sizeOf(state)
  if (index < size) return
  throw new RangeError(`WebAssembly.Table.${method}(): ${outOfBounds(index, TYPE_NAMES[state.element], size)}`)
}

function Table(descriptor, value = undefined) {
  const where = 'WebAssembly.Table()'
  requireNew(new.target, 'Table')
  if (!isObject(descriptor)) throw new TypeError(`${where}: Argument 0 must be a table descriptor`)
  // Dictionary members in lexicographical order: element, initial, maximum.
  const element = ELEMENTS.get(`${descriptor.element}`)
  if (element === undefined) {
    throw new TypeError(`${where}: Descriptor property 'element' must be a WebAssembly reference type`)
  }
  const initial = toLimit(descriptor.initial, 'initial', 0, MAX_ELEMENTS, where)
  if (initial === undefined) throw new TypeError(`${where}: Property 'initial' is required`)
  const maximum = toLimit(descriptor.maximum, 'maximum', initial, NO_MAXIMUM, where)

  const state = { element, maximum, values: null, group: null, id: 0 }
  // If value is missing, DefaultValue(elementType); else ToWebAssemblyValue. V8 does not look at what it does not need.
  const fill = value === undefined ? defaultOf(state) : value
  if (initial > 0 && !fits(state, fill)) {
    throw new TypeError(
      `${where}: Argument 2 must be undefined or a value of type compatible with the type of the new table: ${NOT_A_FUNCTION}.`
    )
  }
  state.values = new Array(initial).fill(fill)
  states.set(this, state)
}

function growUnbound(state, delta, fill) {
  const previous = state.values.length
  for (let i = 0; i < delta; i++) state.values.push(fill)
  return previous
}

function growBound({ group, id, element }, delta, fill) {
  return native.tableGrow(group.handle, id, delta, toRaw(element, fill, group))
}

defineInterface(Table, 'WebAssembly.Table', {
  get length() {
    return sizeOf(stateOf(this, 'length'))
  },

  // Defaults keep `length` at 1; V8 tells a missing argument from undefined.
  grow(delta, value = undefined) {
    const state = stateOf(this, 'grow')
    const count = toUnsignedLong(delta, 'WebAssembly.Table.grow(): Argument 0')
    const fill = arguments.length < 2 ? defaultOf(state) : value
    if (!fits(state, fill)) throw new TypeError(`WebAssembly.Table.grow(): Argument 1 is invalid: ${NOT_A_FUNCTION}`)
    const allowed = sizeOf(state) + count <= Math.min(state.maximum ?? MAX_ELEMENTS, MAX_ELEMENTS)
    const previous = allowed ? (state.group === null ? growUnbound : growBound)(state, count, fill) : -1
    if (previous === -1) throw new RangeError(`WebAssembly.Table.grow(): failed to grow table by ${count}`)
    return previous
  },

  set(index, value = undefined) {
    const state = stateOf(this, 'set')
    const at = toUnsignedLong(index, 'WebAssembly.Table.set(): Argument 0')
    checkIndex(state, at, 'set')
    const element = arguments.length < 2 ? defaultOf(state) : value
    if (!fits(state, element)) {
      throw new TypeError(`WebAssembly.Table.set(): Argument 1 is invalid for table: ${NOT_A_FUNCTION}`)
    }
    if (state.group === null) state.values[at] = element
    else native.tableSet(state.group.handle, state.id, at, toRaw(state.element, element, state.group))
  },

  get(index) {
    const state = stateOf(this, 'get')
    const at = toUnsignedLong(index, 'WebAssembly.Table.get(): Argument 0')
    checkIndex(state, at, 'get')
    if (state.group === null) return state.values[at]
    return referenceToJS(state.element, native.tableGet(state.group.handle, state.id, at), state.group)
  },
})

/** Import matching of table types; throws LinkError. */
function matchTable(table, type, index, subject) {
  const state = states.get(table)
  const fail = (message) => {
    throw new classes.LinkError(`${subject}: ${message}`)
  }
  if (state.element !== type.element) fail('imported table does not match the expected type')
  const size = sizeOf(state)
  if (size < type.initial) fail(`table import ${index} is smaller than initial ${type.initial}, got ${size}`)
  if (type.maximum === undefined) return
  if (state.maximum === undefined) fail(`table import ${index} has no maximum length; required: ${type.maximum}`)
  if (state.maximum > type.maximum) {
    fail(
      `table import ${index} has a larger maximum size ${state.maximum} than the module's declared maximum ${type.maximum}`
    )
  }
}

/** Moves an unbound table into `group`'s store; the table's id there. */
function bindTable(table, group) {
  const state = states.get(table)
  if (state.group !== null) return state.id
  const { element, values } = state
  const id = native.tableCreate(group.handle, element, values.length, state.maximum ?? -1)
  for (let i = 0; i < values.length; i++) {
    if (values[i] !== null) native.tableSet(group.handle, id, i, toRaw(element, values[i], group))
  }
  Object.assign(state, { values: null, group, id })
  group.tables.set(id, table)
  return id
}

/** The Table of a table that lives in `group`. */
function tableAt(group, id) {
  let table = group.tables.get(id)
  if (table === undefined) {
    const { element, maximum } = native.tableType(group.handle, id)
    table = Object.create(Table.prototype)
    states.set(table, { element, maximum, values: null, group, id })
    group.tables.set(id, table)
  }
  return table
}

module.exports = { Table, bindTable, isTable, matchTable, suggestedGroup, tableAt, tableGroup }
