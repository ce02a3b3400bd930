'use strict'

// WebAssembly.Table. Every Table is V8's own, made by the built-in constructor.
//
// A table made by JavaScript keeps its elements in V8's table until an instance imports it: until then it belongs to no
// link group, and to neither engine. From then on it lives in the group's store, and V8's table stays empty. If an
// instance of the built-in engine imports it, it stays V8's.

const { shared } = require('../process/copies.js')
const { describeFunction } = require('./function.js')
const { native, builtin, classes, U32 } = require('../process/native.js')
const realm = require('../process/realm.js')
const { leaving } = require('./stack.js')
const { state: front } = require('../front/state.js')
const { NOT_A_FUNCTION, read, toRaw, write } = require('./value.js')
const { isObject, observed } = require('./dictionary.js')
const { accepts, defineInterface, inheriting, requireNew, toUnsignedLong, v8 } = require('./webidl.js')
const { functionForBuiltin, functionFromBuiltin } = require('./wrapper.js')

const { apply, construct } = Reflect
const members = Object.getOwnPropertyDescriptors(builtin.Table.prototype)
const builtinLength = members.length.get
const builtinGet = members.get.value
const builtinSet = members.set.value
const builtinGrow = members.grow.value

// https://webassembly.github.io/spec/js-api/#limits
const MAX_ELEMENTS = 10_000_000

const ELEMENTS = new Map([
  ['anyfunc', 'c'],
  ['externref', 'r'],
])

const TYPE_NAMES = { c: 'funcref', r: 'externref' }

/**
 * Table -> {element, maximum, held, group, id, load, store}. `held`: while unbound, the elements that are functions of
 * ours, which V8's table does not take. `load` and `store`: what native has made to read and write elements, once that
 * was wanted. Tables of the built-in engine have no entry.
 */
const states = shared('tables', () => new WeakMap())

/** Whether the value is a Table of any class, copy or realm: the built-in's own brand decides. */
const isTable = (value) => states.has(value) || accepts(builtinLength, value)

const isBuiltinTable = (value) => isTable(value) && !states.has(value)

const tableGroup = (table) => states.get(table)?.group ?? null

/** The group of the first element that has one; undefined for a table that is bound or has none. */
function suggestedGroup(table) {
  const [first] = states.get(table)?.held?.values() ?? []
  return describeFunction(first)?.group
}

const sizeOf = (table, state) =>
  state.group === null ? apply(builtinLength, table, []) : native.tableSize(state.group.handle, state.id)

const isOurs = (value) => describeFunction(value) !== undefined

const fits = (state, value) => state.element === 'r' || value === null || isOurs(value)

// Three wordings, from V8 13 on, of 12 (Node 22), and before (Node 20).
const outOfBounds =
  v8 >= 13
    ? (index, type, size) => `invalid address ${index} in ${type} table of size ${size}`
    : (index, type, size) => `invalid index ${index} into ${v8 === 12 ? `${type} table of size ${size}` : 'function table'}`

const indexError = (table, state, index, method) =>
  new RangeError(`WebAssembly.Table.${method}(): ${outOfBounds(index, TYPE_NAMES[state.element], sizeOf(table, state))}`)

function Table(descriptor, value = undefined) {
  try {
    requireNew(new.target, 'Table')
    const seen = {}
    const watched = isObject(descriptor)
      ? observed(descriptor, (key, member) => {
          if (key === 'element') member = `${member}`
          else if (isObject(member)) member = +member
          seen[key] = member
          return member
        })
      : descriptor
    if (!isOurs(value)) return adopt(inheriting(new builtin.Table(watched, ...rest(arguments)), this), seen)

    // The built-in takes its own functions only. So it reads the descriptor, and the value comes after.
    const empty = adopt(inheriting(new builtin.Table(watched), this), seen)
    const state = states.get(empty)
    if (state === undefined || state.element === 'r') {
      return adopt(inheriting(new builtin.Table(seen, value), this), seen)
    }
    hold(empty, state, 0, apply(builtinLength, empty, []), value)
    return empty
  } catch (error) {
    throw leaving(error, Table) // node-do-not-add-exception-line
  }
}

const rest = (list) => Array.prototype.slice.call(list, 1)

function adopt(table, { element, maximum, address }) {
  front.hasOtherTables = true
  const letter = ELEMENTS.get(element)
  if (letter !== undefined && address !== 'i64') {
    const limit = maximum === undefined ? undefined : Math.trunc(maximum)
    states.set(table, { element: letter, maximum: limit, held: new Map(), group: null, id: 0, load: undefined, store: undefined })
  }
  return table
}

function hold(table, { held }, from, to, value) {
  for (let index = from; index < to; index++) {
    if (isOurs(value)) held.set(index, value)
    else held.delete(index)
  }
}

function growBound(state, delta, fill) {
  place(state, toRaw(state.element, fill, state.group))
  return native.tableGrow(state.group.handle, state.id, delta)
}

// The element is value 0 of the arena, the index value 1, which becomes the table's size. False where the index is not
// below it; then nothing was read or written. The group is an argument for the reason given in ./function.js.

function loadBound(state, index) {
  const { group } = state
  state.load ??= native.tableReader(group.handle, state.id)
  U32[4] = index
  state.load(group)
  return index < U32[4]
}

const place = ({ group, element }, raw) => write(element, 0, raw, group)

function storePlaced(state, index) {
  const { group } = state
  state.store ??= native.tableWriter(group.handle, state.id)
  U32[4] = index
  state.store(group)
  return index < U32[4]
}

function storeBound(state, index, value) {
  place(state, toRaw(state.element, value, state.group))
  return storePlaced(state, index)
}

const own = defineInterface(Table, 'WebAssembly.Table', {
  get length() {
    try {
      const state = states.get(this)
      return state === undefined ? apply(builtinLength, this, []) : sizeOf(this, state)
    } catch (error) {
      throw leaving(error, own['get length']) // node-do-not-add-exception-line
    }
  },

  // Defaults keep `length` at 1; V8 treats a missing argument otherwise than undefined.
  grow(delta, value = undefined) {
    try {
      const state = states.get(this)
      if (state === undefined) return apply(builtinGrow, this, forBuiltin(arguments))
      if (state.group === null) {
        if (state.element === 'r' || !isOurs(value)) return apply(builtinGrow, this, arguments)
        const previous = apply(builtinGrow, this, [delta, null])
        hold(this, state, previous, apply(builtinLength, this, []), value)
        return previous
      }
      const count = toUnsignedLong(delta, 'WebAssembly.Table.grow(): Argument 0')
      // V8 11 takes undefined for a missing argument here, and here only.
      const missing = arguments.length < 2 || (v8 < 12 && value === undefined)
      const fill = missing ? defaultOf(state) : value
      if (!fits(state, fill)) throw new TypeError(`WebAssembly.Table.grow(): Argument 1 is invalid: ${NOT_A_FUNCTION}`)
      const allowed = sizeOf(this, state) + count <= Math.min(state.maximum ?? MAX_ELEMENTS, MAX_ELEMENTS)
      const previous = allowed ? growBound(state, count, fill) : -1
      if (previous === -1) throw new RangeError(`WebAssembly.Table.grow(): failed to grow table by ${count}`)
      return previous
    } catch (error) {
      throw leaving(error, own.grow) // node-do-not-add-exception-line
    }
  },

  set(index, value = undefined) {
    try {
      const state = states.get(this)
      if (state === undefined) return void apply(builtinSet, this, forBuiltin(arguments))
      if (state.group === null) {
        if (state.element === 'r') return void apply(builtinSet, this, arguments)
        const at = typeof index === 'number' ? index : +index
        apply(builtinSet, this, isOurs(value) ? [at, null] : [at, ...rest(arguments)])
        hold(this, state, Math.trunc(at), Math.trunc(at) + 1, value)
        return
      }
      const at = toUnsignedLong(index, 'WebAssembly.Table.set(): Argument 0')
      const element = arguments.length < 2 ? defaultOf(state) : value
      if (!fits(state, element)) {
        if (at >= sizeOf(this, state)) throw indexError(this, state, at, 'set')
        throw new TypeError(`WebAssembly.Table.set(): Argument 1 is invalid for table: ${NOT_A_FUNCTION}`)
      }
      if (!storeBound(state, at, element)) throw indexError(this, state, at, 'set')
    } catch (error) {
      throw leaving(error, own.set) // node-do-not-add-exception-line
    }
  },

  get(index) {
    try {
      const state = states.get(this)
      if (state === undefined) return functionFromBuiltin(apply(builtinGet, this, arguments))
      if (state.group === null) {
        const at = typeof index === 'number' ? index : +index
        const value = apply(builtinGet, this, [at])
        return state.held.get(Math.trunc(at)) ?? value
      }
      const at = toUnsignedLong(index, 'WebAssembly.Table.get(): Argument 0')
      if (!loadBound(state, at)) throw indexError(this, state, at, 'get')
      return read(state.element, 0, state.group)
    } catch (error) {
      throw leaving(error, own.get) // node-do-not-add-exception-line
    }
  },
})

const defaultOf = (state) => (state.element === 'r' ? undefined : null)

/** Arguments for a table of the built-in engine, the element in a form that it takes. */
const forBuiltin = (list) => Array.from(list, (value, k) => (k === 1 && isOurs(value) ? functionForBuiltin(value) : value))

/**
 * Makes a table of the program's, which no instance has met yet, one that instances of ours can import; not where it has
 * functions of the built-in engine, which only that can call through it.
 */
function claimTable(table) {
  const descriptor = front.fresh.get(table)
  if (descriptor === undefined || states.has(table)) return
  const isEmpty = (index) => apply(builtinGet, table, [index]) === null
  const length = apply(builtinLength, table, [])
  if (ELEMENTS.get(descriptor.element) === 'c' && !Array.from({ length }, (_, index) => index).every(isEmpty)) return
  front.fresh.delete(table)
  adopt(table, descriptor)
}

/** Import matching of table types; throws LinkError. */
function matchTable(table, type, index, subject) {
  const state = states.get(table)
  const fail = (message) => {
    throw new classes.LinkError(`${subject}: ${message}`)
  }
  if (state === undefined) {
    fail('a table of the built-in engine cannot be shared with this instance, which is compiled by wasm-compile-cache')
  }
  if (state.element !== type.element) fail('imported table does not match the expected type')
  const size = sizeOf(table, state)
  if (size < type.initial) fail(`table import ${index} is smaller than initial ${type.initial}, got ${size}`)
  if (type.maximum === undefined) return
  if (state.maximum === undefined) fail(`table import ${index} has no maximum length; required: ${type.maximum}`)
  if (state.maximum > type.maximum) {
    fail(`table import ${index} has a larger maximum size ${state.maximum} than the module's declared maximum ${type.maximum}`)
  }
}

/** Moves an unbound table into `group`'s store; the table's id there. */
function bindTable(table, group) {
  const state = states.get(table)
  if (state.group !== null) return state.id
  const { element, held } = state
  const size = sizeOf(table, state)
  const raws = Array.from({ length: size }, (_, index) => {
    const value = held.get(index) ?? apply(builtinGet, table, [index])
    if (element === 'c' && value !== null && !isOurs(value)) {
      throw new classes.LinkError(
        `element ${index} of the table is a function of the built-in engine, which cannot be called through a table here`
      )
    }
    return toRaw(element, value, group)
  })
  const id = native.tableCreate(group.handle, element, size, state.maximum ?? -1)
  Object.assign(state, { held: undefined, group, id })
  front.hasTables = true
  group.tables.set(id, table)
  raws.forEach((raw, index) => {
    // One externref for a value that fills the table.
    if (index === 0 || !Object.is(raw, raws[index - 1])) place(state, raw)
    storePlaced(state, index)
  })
  return id
}

/** The Table of a table that lives in `group`. */
function tableAt(group, id) {
  let table = group.tables.get(id)
  if (table === undefined) {
    const { element, maximum } = native.tableType(group.handle, id)
    table = construct(builtin.Table, [{ element: 'anyfunc', initial: 0, maximum: 0 }], realm.isAuto ? builtin.Table : Table)
    states.set(table, { element, maximum, held: undefined, group, id, load: undefined, store: undefined })
    group.tables.set(id, table)
    front.hasTables = true
  }
  return table
}

/** Gives an unbound table to the built-in engine; false if it is bound to an instance of ours. */
function releaseTable(table) {
  const state = states.get(table)
  if (state === undefined) return true
  if (state.group !== null) return false
  for (const [index, value] of state.held) apply(builtinSet, table, [index, functionForBuiltin(value)])
  states.delete(table)
  return true
}

module.exports = {
  Table,
  bindTable,
  claimTable,
  isBuiltinTable,
  isTable,
  matchTable,
  releaseTable,
  suggestedGroup,
  tableAt,
  tableGroup,
}
