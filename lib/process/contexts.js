'use strict'

// Our namespace in the vm contexts that the program makes. The program's objects work there: a Module that is compiled
// outside of a context can be instantiated inside.
//
// A context gets a copy of this package's JavaScript, evaluated in its realm, so that what it makes and throws is of that
// realm; all copies share what is kept of an object (./copies.js). Contexts are many, and few of them use WebAssembly:
// the members of a context's namespace are accessors until one of them is used.

const fs = require('node:fs')
const path = require('node:path')
const { types } = require('node:util')
const vm = require('node:vm')

const { createRecord, records } = require('./realms.js')
const { knowRealmOf } = require('../api/stack.js')

const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Reflect
const { toString: sourceOf } = Function.prototype

const WARNING = { type: 'WasmCompileCacheWarning', code: 'ERR_WASM_CONTEXT' }

/** Members that are ours, as in ../api/namespace.js; and those that are left out there. */
const REPLACED = ['compile', 'validate', 'instantiate', 'Module', 'Instance', 'Table', 'Memory', 'Global', 'Tag']
const LEFT_OUT = ['Suspending', 'promising', 'SuspendError']

/** Files whose exports belong to no realm. */
const REALMLESS = {
  'api/binary.js': require('../api/binary.js'),
  'process/copies.js': require('./copies.js'),
  'cache/environment.js': require('../cache/environment.js'),
  'events/events.js': require('../events/events.js'),
  'process/realms.js': require('./realms.js'),
  'compile/streaming.js': require('../compile/streaming.js'),
}

// The accessors are the context's own functions: one of this realm's would be a way out of the context.
const ENTER = `'use strict';
({
  namespace: WebAssembly,
  error: (() => {
    try { null.x } catch (error) { return error }
  })(),
  accessor: (read, write) => ({
    get() { return read() },
    set(value) { write(this, value) },
    enumerable: false,
    configurable: true,
  }),
})`

// The program may have put something else into the context under the names that a file uses. So the classes of errors
// and results are taken from the language itself, and for the rest those of any realm will do.
const INTRINSICS = `'use strict'
const classOf = (fail) => {
  try { fail() } catch (error) { return error.constructor }
}
const TypeError = classOf(() => null.x)
const Object = ({}).constructor
return {
  Array: [].constructor,
  Error: Object.getPrototypeOf(TypeError),
  Object,
  Promise: (async () => {})().constructor,
  RangeError: classOf(() => { [].length = -1 }),
  TypeError,
}`

const OUTSIDE = {
  Atomics,
  BigInt,
  BigInt64Array,
  Boolean,
  Buffer,
  FinalizationRegistry,
  Float32Array,
  Float64Array,
  Function,
  Int32Array,
  Map,
  Math,
  Number,
  Proxy,
  Reflect,
  Set,
  SharedArrayBuffer,
  String,
  Symbol,
  Uint8Array,
  Uint32Array,
  WeakMap,
  WeakRef,
  WeakSet,
  process,
  queueMicrotask,
}

const FILE = path.join(__dirname, 'engine.js')

/** This package's JavaScript, and what V8 made of it the first time. */
let source
let cachedData

function compileIn(context, parameters) {
  source ??= fs.readFileSync(FILE, 'utf8')
  const options = { filename: FILE, parsingContext: context }
  if (cachedData !== undefined) return vm.compileFunction(source, parameters, { ...options, cachedData })
  const fn = vm.compileFunction(source, parameters, { ...options, produceCachedData: true })
  // A copy, because V8's belongs to that context.
  cachedData = Buffer.from(fn.cachedData)
  return fn
}

/** A copy of this package in the realm of `context`: what ../api/inheritance.js gives there. */
function loadInto(context, record) {
  const intrinsics = vm.compileFunction(INTRINSICS, [], { parsingContext: context })()
  const globals = { ...OUTSIDE, ...intrinsics }
  const parameters = ['require', 'module', '__filename', '__dirname', ...Object.keys(globals)]
  const bundle = { exports: {} }
  compileIn(context, parameters)(require, bundle, FILE, __dirname, ...Object.values(globals))
  const { load, loaded } = bundle.exports
  for (const [name, exports] of Object.entries({ ...REALMLESS, 'process/realm.js': record })) loaded.set(name, exports)
  return load('api/inheritance.js')
}

let enterScript

/** The built-in WebAssembly of a context and what makes accessors there; undefined where the program has its own. */
function enter(context, contextObject) {
  // A sandbox's own member of that name must not be read; that of a Proxy cannot be looked up without the Proxy's
  // noticing.
  if (context === contextObject && !types.isProxy(context) && 'WebAssembly' in context) return undefined
  try {
    const found = (enterScript ??= new vm.Script(ENTER, { filename: __filename })).runInContext(context)
    const { namespace, error } = found
    knowRealmOf(error)
    if (records.has(namespace) || getPrototypeOf(namespace) !== getPrototypeOf(found)) return undefined
    return apply(sourceOf, getOwnPropertyDescriptor(namespace, 'Module').value, []).includes('[native code]') ? found : undefined
  } catch {
    return undefined
  }
}

/** Makes the namespace of a new context ours, as soon as it is used. */
function adopt(context, contextObject, compiles) {
  const found = enter(context, contextObject)
  if (found === undefined) return
  const { namespace, accessor } = found
  const builtin = Object.create(null, Object.getOwnPropertyDescriptors(namespace))
  const record = createRecord(namespace, builtin, compiles)
  records.set(namespace, record)

  let own
  const load = () => {
    if (own !== undefined) return own
    let copy
    try {
      copy = loadInto(context, record)
    } catch (error) {
      // The files are not there any more, or the process has no descriptor left.
      process.emitWarning(`A vm context keeps the built-in WebAssembly: ${error.message}`, WARNING)
    }
    own = copy?.namespace ?? builtin
    for (const name of REPLACED) defineProperty(namespace, name, getOwnPropertyDescriptor(own, name))
    if (copy === undefined) return own
    record.installed.unshift(namespace)
    copy.inherit(record.installed.at(-1))
    return own
  }
  for (const name of REPLACED) {
    const write = (receiver, value) => {
      load()
      Reflect.set(namespace, name, value, receiver)
    }
    defineProperty(
      namespace,
      name,
      accessor(() => load()[name], write)
    )
  }
  for (const name of LEFT_OUT) Reflect.deleteProperty(namespace, name)
}

module.exports = { adopt }
