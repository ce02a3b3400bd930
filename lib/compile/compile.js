'use strict'

// From bytes to a native module handle, at once. In the background: ./compilation.js.

const { isNativeError } = require('node:util').types
const events = require('../events/events.js')
const { optionsForOurs } = require('./choice.js')
const fallback = require('./fallback.js')
const { native, classes } = require('../process/native.js')
const { compiles } = require('../process/realm.js')
const started = require('../process/started.js')
const { bytesOf } = require('../api/dictionary.js')

/** What native may throw, of this realm. */
const CLASSES = { ...classes, Error, RangeError, TypeError }

// V8's own has a mark that another one would not have: no handler of wasm catches it.
const STACK_IS_FULL = 'Maximum call stack size exceeded'

/**
 * V8 puts the function that was called before the message; native does not know which one that was. Nor does it know
 * the caller's realm: what it threw is made again.
 */
function worded(error, where) {
  if (!isNativeError(error)) return error
  const { name, message } = error
  const Class = Object.hasOwn(CLASSES, name) ? CLASSES[name] : undefined
  if (Class === undefined || message.startsWith('WebAssembly.') || message === STACK_IS_FULL) return error
  const own = new Class(`${where}: ${message}`)
  // V8's errors have none of these properties, so ours do not show when the error is printed.
  for (const key of ['code', 'feature', 'offset']) {
    const property = Object.getOwnPropertyDescriptor(error, key)
    if (property !== undefined) Object.defineProperty(own, key, { ...property, enumerable: false })
  }
  return own
}

function bytesToCompile(source, where) {
  if (!compiles) throw new classes.CompileError(`${where}: Wasm code generation disallowed by embedder`)
  const bytes = bytesOf(source)
  if (bytes === undefined) throw new TypeError(`${where}: Argument 0 must be a buffer source`)
  if (bytes.length === 0) throw new classes.CompileError(`${where}: BufferSource argument is empty`)
  return bytes
}

/** Who is to know of a module that is not in the cache, before it is compiled; undefined where nobody is. */
const missed = () => (started.environment.WASM_COMPILE_CACHE_REMOTE ? require('../remote/start.js').starterForMissing() : undefined)

/** "Compile a WebAssembly module" on this thread. */
function compileNow(source, given, where) {
  const bytes = bytesToCompile(source, where)
  const options = optionsForOurs(bytes, given)
  if (options === undefined) return fallback.compileThere(bytes, given, where)
  const refusal = fallback.refusalOf(bytes, options)
  try {
    if (refusal !== undefined) return fallback.compileNow(refusal, bytes, options, where)
    return { handle: native.compileSync(bytes, options.native, missed()) }
  } catch (error) {
    if (refusal !== undefined) throw error
    return fallback.compileNow(worded(error, where), bytes, options, where)
  } finally {
    events.drain()
  }
}

module.exports = { bytesToCompile, compileNow, worded }
