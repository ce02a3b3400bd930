'use strict'

// A bundle of dist/ in the realm of a vm context, so that what it makes and throws is of that realm. Files whose exports
// belong to no realm are taken from this one.

const fs = require('node:fs')
const vm = require('node:vm')

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

/** File -> {source, cachedData}: its text, and what V8 made of it the first time. */
const compiled = new Map()

function compileIn(context, file, parameters) {
  if (!compiled.has(file)) compiled.set(file, { source: fs.readFileSync(file, 'utf8'), cachedData: undefined })
  const known = compiled.get(file)
  const options = { filename: file, parsingContext: context }
  if (known.cachedData !== undefined) {
    return vm.compileFunction(known.source, parameters, { ...options, cachedData: known.cachedData })
  }
  const fn = vm.compileFunction(known.source, parameters, { ...options, produceCachedData: true })
  // A copy, because V8's belongs to that context.
  known.cachedData = Buffer.from(fn.cachedData)
  return fn
}

/**
 * @param {object} context
 * @param {string} file a bundle beside this one
 * @param {object} outside file of lib/ -> its exports there
 * @returns {(name: string) => object} loads a file of lib/ that is in the bundle
 */
function evaluate(context, file, outside) {
  const intrinsics = vm.compileFunction(INTRINSICS, [], { parsingContext: context })()
  const globals = { ...OUTSIDE, ...intrinsics }
  const parameters = ['require', 'module', '__filename', '__dirname', ...Object.keys(globals)]
  const bundle = { exports: {} }
  compileIn(context, file, parameters)(require, bundle, file, __dirname, ...Object.values(globals))
  const { load, loaded } = bundle.exports
  for (const [name, exports] of Object.entries(outside)) loaded.set(name, exports)
  return load
}

module.exports = { evaluate }
