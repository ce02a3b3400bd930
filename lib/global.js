'use strict'

// WebAssembly.Global.
//
// A global made by JavaScript holds its value here until an instance imports it; then it becomes a definition in that
// instance's link group. A definition of a number is shared with other groups by address; a reference means something
// in its own group only, so an immutable one is copied into the others, and a mutable one decides the group.

const { native, classes } = require('./native.js')
const { describeFunction } = require('./function.js')
const { LETTERS, NAMES } = require('./signature.js')
const { NOT_A_FUNCTION, read, toRaw, write } = require('./value.js')
const { defineInterface, isObject, requireNew } = require('./webidl.js')

/** Global -> {letter, mutable, value (while unbound), group, address}. */
const states = new WeakMap()

const isGlobal = (value) => states.has(value)

const isReference = ({ letter }) => letter === 'r' || letter === 'c' || letter === 'x'

/** The group a Global is tied to, or null if it may go to any. */
function decidingGroup(global) {
  const state = states.get(global)
  return state.mutable && isReference(state) ? state.group : null
}

/** The value as the definition will hold it. */
function canonical(letter, value) {
  switch (letter) {
    case 'i':
      return +value | 0
    case 'I':
      return BigInt.asIntN(64, value)
    case 'f':
      return Math.fround(value)
    case 'd':
      return +value
    default:
      return value
  }
}

const DEFAULTS = { i: 0, I: 0n, f: 0, d: 0, r: undefined, c: null }

function checkFunction(letter, value, where) {
  if (letter !== 'c' || value === null || describeFunction(value) !== undefined) return
  throw new TypeError(`${where}: ${NOT_A_FUNCTION}`)
}

function Global(descriptor, value = undefined) {
  const where = 'WebAssembly.Global()'
  requireNew(new.target, 'Global')
  if (!isObject(descriptor)) throw new TypeError(`${where}: Argument 0 must be a global descriptor`)
  // Dictionary members in lexicographical order: mutable, value.
  const mutable = Boolean(descriptor.mutable)
  const name = `${descriptor.value}`
  const letter = LETTERS.get(name)
  if (letter === undefined) throw new TypeError(`${where}: Descriptor property 'value' must be a WebAssembly type`)
  if (letter === 'v' || letter === 'x') {
    throw new TypeError(`${where}: A global of type '${name}' cannot be created in JavaScript`)
  }
  // If v is missing, DefaultValue. V8 takes undefined for missing where it is no value of the type itself.
  const missing = letter === 'c' ? arguments.length < 2 : value === undefined
  if (!missing) checkFunction(letter, value, where)
  const initial = missing ? DEFAULTS[letter] : canonical(letter, value)
  states.set(this, { letter, mutable, value: initial, group: null, address: 0 })
}

function stateOf(global, where) {
  const state = states.get(global)
  if (state === undefined) throw new TypeError(`${where}: Receiver is not a WebAssembly.Global`)
  return state
}

// V8's names of the accessors, from 13 on with a bracket too many.
const accessor = (kind) => `${kind} WebAssembly.Global.value${Number.parseInt(process.versions.v8, 10) >= 13 ? ')' : ''}`

function invalidType(letter, verb, where) {
  const reason = letter === 'v' ? `Can't ${verb} the value of s128 WebAssembly.Global` : `invalid type ${NAMES.get(letter)}`
  return new TypeError(`${where}: ${reason}`)
}

// GetGlobalValue
function load(state, where) {
  const { letter, group, address } = state
  if (letter === 'v' || letter === 'x') throw invalidType(letter, 'get', where)
  if (group === null) return state.value
  native.globalGet(address)
  return read(letter, 0, group)
}

function store(state, value) {
  const { letter, group, address } = state
  if (group === null) {
    state.value = canonical(letter, value)
    return
  }
  const raw = toRaw(letter, value, group)
  write(letter, 0, raw)
  native.globalSet(address)
}

defineInterface(Global, 'WebAssembly.Global', {
  valueOf() {
    const where = 'WebAssembly.Global.valueOf()'
    return load(stateOf(this, where), where)
  },
  get value() {
    const where = accessor('get')
    return load(stateOf(this, where), where)
  },
  set value(value) {
    const where = accessor('set')
    const state = stateOf(this, where)
    if (!state.mutable) throw new TypeError(`${where}: Can't set the value of an immutable global.`)
    if (arguments.length === 0) throw new TypeError(`${where}: Argument 0 is required`)
    const { letter } = state
    if (letter === 'v' || letter === 'x') throw invalidType(letter, 'set', where)
    checkFunction(letter, value, where)
    store(state, value)
  },
})

/** Import matching of global types; throws LinkError. */
function matchGlobal(global, type, subject) {
  const { letter, mutable } = states.get(global)
  if (mutable !== type.mutable) {
    throw new classes.LinkError(`${subject}: imported global does not match the expected mutability`)
  }
  if (letter !== type.value) throw new classes.LinkError(`${subject}: imported global does not match the expected type`)
}

/** A definition in `group` that holds `value`; its address. */
function defineValue(group, letter, mutable, value) {
  const raw = toRaw(letter, value, group)
  const address = native.globalCreate(group.handle, letter, mutable)
  write(letter, 0, raw)
  native.globalSet(address)
  return address
}

/** The address by which an instance of `group` imports the global. */
function bindGlobal(global, group) {
  const state = states.get(global)
  const { letter, mutable } = state
  if (state.group === group) return state.address
  let address
  if (state.group === null) {
    address = defineValue(group, letter, mutable, state.value)
    Object.assign(state, { value: undefined, group, address })
  } else if (isReference(state)) {
    address = defineValue(group, letter, false, load(state, 'WebAssembly.Instance()'))
  } else {
    address = state.address
    group.keep.push(global)
  }
  group.globals.set(address, global)
  return address
}

/** The Global of a definition that lives in, or was imported into, `group`. */
function globalAt(group, address, type) {
  let global = group.globals.get(address)
  if (global === undefined) {
    global = Object.create(Global.prototype)
    states.set(global, { letter: type.value, mutable: type.mutable, value: undefined, group, address })
    group.globals.set(address, global)
  }
  return global
}

module.exports = { Global, bindGlobal, decidingGroup, defineValue, globalAt, isGlobal, matchGlobal }
