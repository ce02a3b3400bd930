'use strict'

// The namespace that a program gets under register and install() with `engine: 'auto'`: each function asks which engine is
// the better one for a module (./verdicts.js), and until ours is, everything is the built-in's own, made by the built-in.
//
// Promise: without a module of ours, this package's engine is not loaded, and no object differs from what it is without this
// package, but for the functions that are in this namespace.
//
// Once a module of ours is there, this thread is engaged: ../api/drop-in.js takes over all that can meet its objects.

const { types } = require('node:util')

const { bytesOf, isIndex, isObject, lengthOf, lengthOfView, observed } = require('../api/dictionary.js')
const { leaving } = require('./leaving.js')
const ours = require('./ours.js')
const { keeping } = require('../process/kept.js')
const realm = require('../process/realm.js')
const { keep, state } = require('./state.js')

// Loaded for the first module that is large enough, or streamed.
const seen = () => require('./seen.js')
const standard = () => require('../code/standard.js')
const streams = () => require('./streams.js')
const verdicts = () => require('./verdicts.js')

const { builtin } = realm
const { apply, construct, defineProperty, getOwnPropertyDescriptor, getPrototypeOf, ownKeys } = Reflect

/** As in ../compile/options.js. */
const DEFAULTS = { partition: '', cache: 2, minSize: 131072, finish: true }

let isAbsent = false

/** Loads this package's engine. @returns whether there is one: where it cannot be loaded, all is the built-in's */
function engage() {
  if (isAbsent) return false
  try {
    ours()
  } catch (error) {
    isAbsent = true
    require('../events/warning.js').warnOfAbsence(error)
  }
  return !isAbsent
}

const ABOUT = { partition: DEFAULTS.partition, source: '' }

/** Options of ours; all but `engine` are read there. */
const OPTIONS = ['engine', 'partition', 'cache', 'minSize', 'baseline', 'optimize', 'finish', 'fallback', 'signal']

/** As in ../api/module.js. */
const CARRIER = 'wasm-compile-cache.module'

/** Without frames of ours. */
const leave = (error, fn) => (state.isEngaged ? ours().leaving : leaving)(error, fn)

// ── Which engine ───────────────────────────────────────────────────────────────────────────────────────────────────────

const hasOptions = (options) => isObject(options) && OPTIONS.some((name) => options[name] !== undefined)

/**
 * Who makes a module of what a program compiles. Until that is this package's engine, nothing of it is loaded.
 *
 * @param {unknown} source
 * @param {unknown} options
 * @returns {'ours' | 'builtin' | object} an object: the built-in engine, whose code was kept or is to be; as ./verdicts.js gives it
 */
function makerOf(source, options) {
  if (state.isEngaged) return 'ours'
  if (hasOptions(options)) return engage() ? 'ours' : 'builtin'
  if (!(lengthOf(source) >= DEFAULTS.minSize)) return 'builtin'
  const bytes = bytesOf(source)
  const text = isObject(options) ? standard().textOf(options) : ''
  const choice = verdicts().choose(bytes, { ...DEFAULTS, standard: text ?? '' })
  // How it is compiled cannot be repeated.
  const isPlain = text !== undefined
  if (choice.engine === 'ours' && isPlain) return engage() ? 'ours' : 'builtin'
  return { ...choice, isPlain, hasCode: choice.hasCode && isPlain, isNoted: choice.isIdle && isPlain }
}

/** What is to be done about a choice, while V8 compiles in threads of its own where it does. */
function attend(maker, source) {
  if (maker === 'builtin') return
  const bytes = bytesOf(source)
  // What reads options may have taken them away.
  if (!(bytes?.length >= DEFAULTS.minSize)) return
  require('./tell.js').tell(maker, bytes.length, '')
  if (!maker.isAsked) return
  const { leftAt, mayLeave } = require('./folder.js')
  // Where it is about to be taken up, what finds it out is not loaded.
  if (!mayLeave(DEFAULTS) || leftAt(maker.name).isRecent) return
  maker.isNoted = maker.isPlain
  seen().leaveBytes(maker, bytes, ABOUT, DEFAULTS, maker.isPlain)
}

/** A module of the built-in's, of V8's own code; undefined where V8 has to compile. */
function revived(source, maker) {
  if (!maker.hasCode || !realm.compiles) return undefined
  return require('../code/revive.js').revive(bytesOf(source), maker, ABOUT, builtin)
}

/** Notes a module that the built-in engine has made. */
function made(module, bytes, maker) {
  keep(module, bytes)
  if (maker.isNoted) seen().note(maker.name, module)
}

/** Whether the value is a module of ours, or may be one; the built-in refuses what is none at all. */
function isOurs(module) {
  if (!isObject(module) || state.plain.has(module)) return false
  try {
    if (builtin.Module.customSections(module, CARRIER).length > 0) return true
    keep(module)
    return false
  } catch {
    return false
  }
}

const concernsUsAsModule = (module) => state.isEngaged || (isOurs(module) && engage())

/** What a module is made of, where keeping that costs next to nothing. */
const smallOf = (source) => (lengthOf(source) < DEFAULTS.minSize ? bytesOf(source) : undefined)

/**
 * Nothing that an instance of the built-in engine imports can become ours any more. No getter of the program's is run: where
 * there is one, it may give anything.
 */
function notFresh(importObject) {
  if (!isObject(importObject)) return
  for (const from of valuesOf(importObject)) {
    if (isObject(from)) for (const value of valuesOf(from)) if (isObject(value)) state.fresh.delete(value)
  }
}

function valuesOf(object) {
  const properties = types.isProxy(object) ? [{}] : Object.values(Object.getOwnPropertyDescriptors(object))
  if (properties.some((property) => !('value' in property)) || !hasPlainPrototype(object)) state.fresh = keeping()
  return properties.map(({ value }) => value)
}

function hasPlainPrototype(object) {
  const parent = getPrototypeOf(object)
  return parent === null || parent === Object.prototype || typeof object === 'function' || ownKeys(parent).length === 0
}

// ── Operations ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** A promise of what the built-in makes, which is noted. */
async function compiled(promise, bytes, maker) {
  const module = await promise
  made(module, bytes, maker)
  return module
}

/** The same of what is there already. */
async function resolved(module, maker) {
  made(module, undefined, maker)
  return module
}

async function instantiated(promise, bytes, maker) {
  const result = await promise
  made(result.module, bytes, maker)
  return result
}

/** As the built-in does it when it has compiled. */
async function instantiatedLater(module, importObject) {
  try {
    await undefined
    return { module, instance: await builtin.instantiate(module, importObject) }
  } catch (error) {
    throw leave(error, operations.instantiate) // node-do-not-add-exception-line
  }
}

// Defaults keep `length` at 1, and methods have no [[Construct]], as in the built-in namespace.
const operations = {
  compile(bytes, options = undefined) {
    const maker = makerOf(bytes, options)
    if (maker === 'ours') return apply(ours().operations.compile, this, arguments)
    const module = revived(bytes, maker)
    const copy = smallOf(bytes)?.slice()
    const promise = module === undefined ? apply(builtin.compile, builtin, arguments) : resolved(module, maker)
    attend(maker, bytes)
    if (module !== undefined) return promise
    return copy === undefined && !maker.isNoted ? promise : compiled(promise, copy, maker)
  },

  validate(bytes, _options = undefined) {
    try {
      return apply(builtin.validate, builtin, arguments)
    } catch (error) {
      throw leave(error, operations.validate) // node-do-not-add-exception-line
    }
  },

  instantiate(source, importObject = undefined, options = undefined) {
    const isModule = isObject(source) && bytesOf(source) === undefined
    const maker = isModule ? (concernsUsAsModule(source) ? 'ours' : 'builtin') : makerOf(source, options)
    if (maker === 'ours') return apply(ours().operations.instantiate, this, arguments)
    notFresh(importObject)
    const module = revived(source, maker)
    const copy = smallOf(source)?.slice()
    const promise = module === undefined ? apply(builtin.instantiate, builtin, arguments) : instantiatedLater(module, importObject)
    attend(maker, source)
    if (module !== undefined) {
      made(module, undefined, maker)
      return promise
    }
    return copy === undefined && !maker.isNoted ? promise : instantiated(promise, copy, maker)
  },
}

if (builtin.compileStreaming !== undefined) {
  Object.assign(operations, {
    compileStreaming(source, options = undefined) {
      if (state.isEngaged || (hasOptions(options) && engage())) return apply(ours().operations.compileStreaming, this, arguments)
      return streams().compile(arguments, DEFAULTS, engage)
    },

    instantiateStreaming(source, importObject = undefined, options = undefined) {
      if (state.isEngaged || (hasOptions(options) && engage())) {
        return apply(ours().operations.instantiateStreaming, this, arguments)
      }
      notFresh(importObject)
      return streams().instantiate(arguments, DEFAULTS, engage)
    },
  })
}

// ── Classes: the built-in's, made by functions of ours ─────────────────────────────────────────────────────────────────

/** What the built-in makes, as its own constructor or a subclass was called. */
const make = (name, list, target) => construct(builtin[name], list, target === classes[name] ? builtin[name] : target)

/** The same, from a descriptor that is read once. */
function makeFresh(name, list, target, watch) {
  const [descriptor, ...rest] = list
  if (!isObject(descriptor)) return make(name, list, target)
  const seen = {}
  const made = make(name, [watch(descriptor, seen), ...rest], target)
  state.fresh.set(made, seen)
  return made
}

/** Whether to read a member runs nothing of the program's, and gives the same again. */
const isData = (descriptor, key) => {
  const property = getOwnPropertyDescriptor(descriptor, key)
  return property !== undefined && 'value' in property
}

/** The same for a global, of which dynamic linking makes tens of thousands: nothing stands before what need not be observed. */
function makeGlobal(list, target) {
  const [descriptor] = list
  const isSimple =
    isObject(descriptor) && !types.isProxy(descriptor) && isData(descriptor, 'value') && isData(descriptor, 'mutable')
  if (!isSimple || typeof descriptor.value !== 'string') {
    return makeFresh('Global', list, target, (given, seen) =>
      observed(given, (key, member) => (seen[key] = key === 'value' ? `${member}` : member))
    )
  }
  const { mutable, value } = descriptor
  const made = make('Global', list, target)
  state.fresh.set(made, { mutable, value })
  return made
}

/** The same for a tag. */
function makeTag(list, target) {
  const [descriptor, ...rest] = list
  if (!isObject(descriptor)) return make('Tag', list, target)
  const names = []
  const noted = (key, value) => (isIndex(key) ? (names[key] = `${value}`) : value)
  const watched = observed(descriptor, (key, member) =>
    key === 'parameters' && isObject(member) ? observed(member, noted) : member
  )
  const made = make('Tag', [watched, ...rest], target)
  state.tags.set(made, names)
  return made
}

/** A module of any size. */
function newModule(self, bytes, options, target) {
  if (target === undefined) return apply(builtin.Module, undefined, [bytes, options])
  const maker = makerOf(bytes, options)
  if (maker === 'ours') return ours().newModule([bytes, options], self)
  attend(maker, bytes)
  const found = revived(bytes, maker)
  // V8 has the code, if there was any.
  const module = target === classes.Module && found !== undefined ? found : make('Module', [bytes, options], target)
  made(module, smallOf(bytes), maker)
  return module
}

/** Calls without `new` are refused in the built-in's words. */
const classes = {
  Module: function Module(bytes, options = undefined) {
    try {
      // A program may make thousands of small modules, and V8 is quick with them.
      if (new.target === classes.Module && options === undefined && !state.isEngaged && types.isUint8Array(bytes)) {
        const length = lengthOfView(bytes)
        if (length < DEFAULTS.minSize) {
          const module = new builtin.Module(bytes)
          keep(module, bytes, length)
          return module
        }
      }
      return newModule(this, bytes, options, new.target)
    } catch (error) {
      throw leave(error, classes.Module) // node-do-not-add-exception-line
    }
  },

  Instance: function Instance(module, importObject = undefined) {
    try {
      if (new.target === undefined) return apply(builtin.Instance, undefined, [module, importObject])
      if (concernsUsAsModule(module)) return construct(ours().classes.Instance, [module, importObject], new.target)
      if (importObject !== undefined) notFresh(importObject)
      return new.target === classes.Instance
        ? new builtin.Instance(module, importObject)
        : construct(builtin.Instance, [module, importObject], new.target)
    } catch (error) {
      throw leave(error, classes.Instance) // node-do-not-add-exception-line
    }
  },

  Table: function Table(_descriptor, _value = undefined) {
    try {
      if (new.target === undefined) return apply(builtin.Table, undefined, arguments)
      if (state.isEngaged) return construct(ours().classes.Table, arguments, new.target)
      state.hasOtherTables = true
      return makeFresh('Table', arguments, new.target, (given, seen) =>
        observed(given, (key, member) => {
          if (key === 'element') member = `${member}`
          else if (isObject(member)) member = +member
          seen[key] = member
          return member
        })
      )
    } catch (error) {
      throw leave(error, classes.Table) // node-do-not-add-exception-line
    }
  },

  Global: function Global(_descriptor, _value = undefined) {
    try {
      if (new.target === undefined) return apply(builtin.Global, undefined, arguments)
      if (state.isEngaged) return construct(ours().classes.Global, arguments, new.target)
      return makeGlobal(arguments, new.target)
    } catch (error) {
      throw leave(error, classes.Global) // node-do-not-add-exception-line
    }
  },

  Tag: function Tag(_descriptor) {
    try {
      if (new.target === undefined) return apply(builtin.Tag, undefined, arguments)
      if (state.isEngaged) return construct(ours().classes.Tag, arguments, new.target)
      return makeTag(arguments, new.target)
    } catch (error) {
      throw leave(error, classes.Tag) // node-do-not-add-exception-line
    }
  },
}

/** A static method of Module, of either engine. */
function ofModule(name, { length }) {
  const statics = {
    [name](module) {
      try {
        if (concernsUsAsModule(module)) return apply(ours().classes.Module[name], ours().classes.Module, arguments)
        return apply(builtin.Module[name], builtin.Module, arguments)
      } catch (error) {
        throw leave(error, statics[name]) // node-do-not-add-exception-line
      }
    },
  }
  return defineProperty(statics[name], 'length', { value: length, configurable: true }) && statics[name]
}

const extras = {
  /** @returns {'baseline' | 'optimized' | 'builtin'} */
  tier(module) {
    if (concernsUsAsModule(module)) return ours().classes.Module.tier(module)
    builtin.Module.exports(module) // refuses what is no module
    return 'builtin'
  },

  /** Settles when the optimizing tier's code is in place. */
  async optimized(module) {
    if (concernsUsAsModule(module)) return ours().classes.Module.optimized(module)
    builtin.Module.exports(module)
  },
}

/** Gives our function the built-in's shape and prototype. */
function resemble(name) {
  const fn = classes[name]
  for (const key of ownKeys(builtin[name])) {
    const property = getOwnPropertyDescriptor(builtin[name], key)
    if (key === 'prototype') defineProperty(fn, key, { value: property.value, writable: false })
    else if (typeof property.value === 'function') defineProperty(fn, key, { ...property, value: ofModule(key, property.value) })
    else defineProperty(fn, key, property)
  }
  Object.setPrototypeOf(fn, getPrototypeOf(builtin[name]))
}

/** Stack switching: whose modules the built-in alone can call. */
if (builtin.Suspending !== undefined) {
  classes.Suspending = function Suspending(_fn) {
    try {
      if (new.target === undefined) return apply(builtin.Suspending, undefined, arguments)
      const made = make('Suspending', arguments, new.target)
      state.isSuspending = true
      state.suspending.add(made)
      return made
    } catch (error) {
      throw leave(error, classes.Suspending) // node-do-not-add-exception-line
    }
  }
}

for (const name of Object.keys(classes)) {
  if (builtin[name] === undefined) delete classes[name]
  else resemble(name)
}
for (const [name, value] of Object.entries(extras)) {
  defineProperty(classes.Module, name, { value, writable: true, configurable: true })
}

/** What differs from the built-in's namespace. */
const members = { ...operations, ...classes }

/** Has `constructor` of the built-in's objects be what the program's namespace has. */
function claimPrototypes(isOn) {
  for (const [name, fn] of Object.entries(classes)) {
    const { prototype } = builtin[name]
    const property = getOwnPropertyDescriptor(prototype, 'constructor')
    const [from, to] = isOn ? [builtin[name], fn] : [fn, builtin[name]]
    if (property?.value === from && property.configurable) defineProperty(prototype, 'constructor', { ...property, value: to })
  }
}

/**
 * Makes `namespace` the one of this file, with all that the built-in's has.
 *
 * @param {object} namespace
 */
function fill(namespace) {
  for (const name of ownKeys(builtin)) {
    const property = getOwnPropertyDescriptor(builtin, name)
    defineProperty(namespace, name, Object.hasOwn(members, name) ? { ...property, value: members[name] } : property)
  }
  realm.isAuto = true
  claimPrototypes(true)
  return namespace
}

/** What {@link fill} did beside the namespace. */
function release() {
  realm.isAuto = false
  claimPrototypes(false)
}

module.exports = { fill, release }
