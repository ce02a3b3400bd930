'use strict'

// WebAssembly.Global. Every Global is V8's own, made by the built-in constructor.
//
// A global made by JavaScript keeps its value in V8's global until an instance imports it. Then it becomes a definition
// in that instance's link group, and V8's is not used any more; if an instance of the built-in engine imports it, it
// stays V8's. A definition of a number is shared with other groups by address; a reference means something in its own
// group only, so an immutable one is copied into the others, and a mutable one decides the group.

const { CODES, binary, importOf } = require('./binary.js')
const { shared } = require('../process/copies.js')
const { describeFunction } = require('./function.js')
const { keeping } = require('../process/kept.js')
const { native, builtin, classes, helperModule } = require('../process/native.js')
const { LETTERS, NAMES } = require('./signature.js')
const realm = require('../process/realm.js')
const { leaving } = require('./stack.js')
const { state: front } = require('../front/state.js')
const { NOT_A_FUNCTION, read, toRaw, write } = require('./value.js')
const { isObject, observed } = require('./dictionary.js')
const { accepts, defineInterface, inheriting, requireNew, v8 } = require('./webidl.js')
const { functionForBuiltin, functionFromBuiltin } = require('./wrapper.js')

const { apply, construct } = Reflect
const members = Object.getOwnPropertyDescriptors(builtin.Global.prototype)
const builtinValueOf = members.valueOf.value
const builtinGet = members.value.get
const builtinSet = members.value.set

/**
 * Global -> {letter, mutable, held, group, address}. `held`: while unbound, a function of ours, which V8's global does
 * not take. Globals of the built-in engine have no entry.
 */
const states = shared('globals', keeping)

/** Whether the value is a Global of any class, copy or realm: the built-in's own brand decides. */
const isGlobal = (value) => states.has(value) || accepts(builtinValueOf, value)

const isBuiltinGlobal = (value) => isGlobal(value) && !states.has(value)

const isReference = ({ letter }) => letter === 'r' || letter === 'c' || letter === 'x'

/** Of a type whose values JavaScript does not have. */
const isOpaque = (letter) => letter === 'v' || letter === 'x'

/** The group a Global is tied to, or null if it may go to any. */
function decidingGroup(global) {
  const state = states.get(global)
  return state !== undefined && state.mutable && isReference(state) ? state.group : null
}

const isOurs = (value) => describeFunction(value) !== undefined

function Global(descriptor, value = undefined) {
  try {
    requireNew(new.target, 'Global')
    const seen = {}
    const watched = isObject(descriptor)
      ? observed(descriptor, (key, member) => (seen[key] = key === 'value' ? `${member}` : member))
      : descriptor
    if (!isOurs(value)) {
      const given = Array.prototype.slice.call(arguments, 1)
      return adopt(inheriting(new builtin.Global(watched, ...given), this), seen)
    }
    // The built-in takes its own functions only. So it reads the descriptor, and the value comes after.
    const empty = adopt(inheriting(new builtin.Global(watched), this), seen)
    const state = states.get(empty)
    if (state?.letter !== 'c') return adopt(inheriting(new builtin.Global(seen, value), this), seen)
    state.held = value
    return empty
  } catch (error) {
    throw leaving(error, Global) // node-do-not-add-exception-line
  }
}

function adopt(global, { value, mutable }) {
  const letter = LETTERS.get(value)
  if (letter !== undefined) {
    states.set(global, { letter, mutable: Boolean(mutable), held: undefined, group: null, address: 0 })
  }
  return global
}

// V8's names of the accessors, from 13 on with a bracket too many.
const accessor = (kind) => `${kind} WebAssembly.Global.value${v8 >= 13 ? ')' : ''}`

function invalidType(letter, verb, where) {
  const reason = letter === 'v' ? `Can't ${verb} the value of s128 WebAssembly.Global` : `invalid type ${NAMES.get(letter)}`
  return new TypeError(`${where}: ${reason}`)
}

// GetGlobalValue
function load(global, state, where) {
  const { letter, group, address } = state
  if (group === null) return state.held ?? apply(builtinGet, global, [])
  if (isOpaque(letter)) throw invalidType(letter, 'get', where)
  native.globalGet(group.handle, address)
  return read(letter, 0, group)
}

function checkFunction(letter, value, where) {
  if (letter === 'c' && value !== null && !isOurs(value)) throw new TypeError(`${where}: ${NOT_A_FUNCTION}`)
}

const own = defineInterface(Global, 'WebAssembly.Global', {
  valueOf() {
    try {
      const state = states.get(this)
      if (state === undefined) return functionFromBuiltin(apply(builtinValueOf, this, []))
      return load(this, state, 'WebAssembly.Global.valueOf()')
    } catch (error) {
      throw leaving(error, own.valueOf) // node-do-not-add-exception-line
    }
  },
  get value() {
    try {
      const state = states.get(this)
      if (state === undefined) return functionFromBuiltin(apply(builtinGet, this, []))
      return load(this, state, accessor('get'))
    } catch (error) {
      throw leaving(error, own['get value']) // node-do-not-add-exception-line
    }
  },
  set value(value) {
    try {
      const state = states.get(this)
      if (state === undefined) {
        apply(builtinSet, this, isOurs(value) ? [functionForBuiltin(value)] : arguments)
        return
      }
      const { letter, group, address } = state
      if (group === null) {
        const held = letter === 'c' && isOurs(value) ? value : undefined
        apply(builtinSet, this, held === undefined ? arguments : [null])
        state.held = held
        return
      }
      const where = accessor('set')
      if (!state.mutable) throw new TypeError(`${where}: Can't set the value of an immutable global.`)
      if (arguments.length === 0) throw new TypeError(`${where}: Argument 0 is required`)
      if (isOpaque(letter)) throw invalidType(letter, 'set', where)
      checkFunction(letter, value, where)
      const raw = toRaw(letter, value, group)
      write(letter, 0, raw, group)
      native.globalSet(group.handle, address)
    } catch (error) {
      throw leaving(error, own['set value']) // node-do-not-add-exception-line
    }
  },
})

/** (module (import "" "" (global type))), for the built-in engine: it alone knows the type of its globals. */
function isOfType(global, { value: letter, mutable }) {
  const probe = helperModule(binary(importOf('', '', 'global', [CODES[letter], +mutable])))
  try {
    new builtin.Instance(probe, { '': { '': global } })
    return true
  } catch {
    return false
  }
}

/** Makes a global of the program's, which no instance has met yet, one that instances of ours can import. */
function claimGlobal(global) {
  const descriptor = front.fresh.get(global)
  if (descriptor === undefined || states.has(global)) return
  front.fresh.delete(global)
  // An immutable one is imported as its value.
  if (descriptor.mutable) adopt(global, descriptor)
}

/** Whether it belongs to an instance of ours, and is no mere value. */
function isTied(global) {
  const state = states.get(global)
  return state !== undefined && state.group !== null && (state.mutable || isOpaque(state.letter))
}

/** Import matching of global types; throws LinkError. */
function matchGlobal(global, type, subject) {
  const fail = (message) => {
    throw new classes.LinkError(`${subject}: ${message}`)
  }
  const state = states.get(global)
  if (state === undefined) {
    if (type.mutable) {
      fail(
        'a mutable global of the built-in engine cannot be shared with this instance, which is compiled by ' + 'wasm-compile-cache'
      )
    }
    if (!isOfType(global, type)) fail('imported global does not match the expected type')
    return
  }
  if (state.mutable !== type.mutable) fail('imported global does not match the expected mutability')
  if (state.letter !== type.value) fail('imported global does not match the expected type')
}

/** A definition in `group` that holds `value`; its address. */
function defineValue(group, letter, mutable, value) {
  const raw = letter === 'x' ? 0 : toRaw(letter, value, group)
  const address = native.globalCreate(group.handle, letter, mutable)
  write(letter, 0, raw, group)
  native.globalSet(group.handle, address)
  return address
}

/** The address by which an instance of `group` imports the global, which is declared as `letter`. */
function bindGlobal(global, letter, group) {
  const state = states.get(global)
  if (state === undefined) return defineValue(group, letter, false, apply(builtinGet, global, []))
  if (state.group === group) return state.address
  // JavaScript can make no other exnref, nor can a constant expression.
  const isNull = letter === 'x'
  let address
  if (state.group === null) {
    address = defineValue(group, letter, state.mutable, isNull ? null : load(global, state))
    Object.assign(state, { held: undefined, group, address })
  } else if (isReference(state)) {
    address = defineValue(group, letter, false, isNull ? null : load(global, state))
  } else {
    address = state.address
  }
  group.globals.set(address, global)
  return address
}

/** The Global of a definition that lives in, or was imported into, `group`. */
function globalAt(group, address, type) {
  let global = group.globals.get(address)
  if (global === undefined) {
    global = construct(builtin.Global, [{ value: 'externref' }], realm.isAuto ? builtin.Global : Global)
    states.set(global, { letter: type.value, mutable: type.mutable, held: undefined, group, address })
    group.globals.set(address, global)
  }
  return global
}

/**
 * What an instance of the built-in engine imports for a Global: the same object, which is the built-in's from then on,
 * or for an immutable one that is bound to an instance of ours, its value. Throws what `refusal` makes where it is bound,
 * and mutable or of a type that JavaScript cannot read.
 *
 * @param {object} global
 * @param {(what: string) => Error} refusal
 */
function releaseGlobal(global, refusal) {
  const state = states.get(global)
  if (state === undefined) return global
  if (state.group === null) {
    if (state.held !== undefined) {
      const value = functionForBuiltin(state.held)
      if (!state.mutable) return new builtin.Global({ value: 'anyfunc' }, value)
      apply(builtinSet, global, [value])
    }
    states.delete(global)
    return global
  }
  if (state.mutable) throw refusal('a mutable global')
  if (isOpaque(state.letter)) throw refusal(`a global of type ${NAMES.get(state.letter)}`)
  const value = load(global, state, 'WebAssembly.Instance()')
  const carried = state.letter === 'c' && value !== null ? functionForBuiltin(value) : value
  return new builtin.Global({ value: NAMES.get(state.letter) }, carried)
}

module.exports = {
  Global,
  bindGlobal,
  claimGlobal,
  decidingGroup,
  defineValue,
  globalAt,
  isBuiltinGlobal,
  isGlobal,
  isTied,
  matchGlobal,
  releaseGlobal,
}
