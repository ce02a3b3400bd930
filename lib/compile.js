'use strict'

// From bytes to a native module handle, at once or in the background.

const { isNativeError } = require('node:util').types
const events = require('./events.js')
const fallback = require('./fallback.js')
const { native, classes } = require('./native.js')
const { compiles } = require('./realm.js')
const { bytesOf } = require('./webidl.js')

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

/** "Compile a WebAssembly module" on this thread. */
function compileNow(source, options, where) {
  const bytes = bytesToCompile(source, where)
  const refusal = fallback.refusalOf(bytes, options)
  try {
    if (refusal !== undefined) return fallback.compileNow(refusal, bytes, options, where)
    return { handle: native.compileSync(bytes, options.native) }
  } catch (error) {
    if (refusal !== undefined) throw error
    return fallback.compileNow(worded(error, where), bytes, options, where)
  } finally {
    events.drain()
  }
}

/** "Asynchronously compile a WebAssembly module". The bytes are copied before it returns. */
function compileInBackground(source, options, where) {
  const { signal } = options
  const bytes = bytesToCompile(source, where)
  if (signal?.aborted) throw signal.reason
  return new Promise((resolve, reject) => {
    const refusal = fallback.refusalOf(bytes, options)
    if (refusal !== undefined) {
      resolve(fallback.compileLater(refusal, bytes.slice(), options, where))
      return
    }
    const abort = () => {
      native.compileAbort(job)
      reject(signal.reason)
    }
    const job = native.compileBytes(bytes, options.native, (error, handle, refused) => {
      signal?.removeEventListener('abort', abort)
      events.drain()
      if (error) resolve(fallback.compileLater(worded(error, where), refused, options, where))
      else resolve({ handle })
    })
    signal?.addEventListener('abort', abort, { once: true })
  })
}

module.exports = { compileInBackground, compileNow, worded }
