'use strict'

// From bytes to a native module handle, at once or in the background.

const events = require('./events.js')
const { native, classes } = require('./native.js')
const { makeError } = require('./stack.js')
const { bytesOf } = require('./webidl.js')

/**
 * V8 puts the function that was called before the message; native does not know which one that was. Nor does it know
 * the caller's realm: what it threw is made again.
 */
function worded(error, where) {
  const { name, message, code } = error
  const Class = Object.hasOwn(classes, name) ? classes[name] : undefined
  if (Class === undefined || message.startsWith('WebAssembly.')) return error
  const own = makeError(Class, `${where}: ${message}`)
  if (code !== undefined) own.code = code
  return own
}

function bytesToCompile(source, where) {
  const bytes = bytesOf(source)
  if (bytes === undefined) throw new TypeError(`${where}: Argument 0 must be a buffer source`)
  if (bytes.length === 0) throw new classes.CompileError(`${where}: BufferSource argument is empty`)
  return bytes
}

/** "Compile a WebAssembly module" on this thread. */
function compileNow(source, { native: options }, where) {
  const bytes = bytesToCompile(source, where)
  try {
    return native.compileSync(bytes, options)
  } catch (error) {
    throw worded(error, where)
  } finally {
    events.drain()
  }
}

/** "Asynchronously compile a WebAssembly module". The bytes are copied before it returns. */
function compileInBackground(source, { native: options, signal }, where) {
  return new Promise((resolve, reject) => {
    const bytes = bytesToCompile(source, where)
    if (signal?.aborted) throw signal.reason
    const abort = () => {
      native.compileAbort(job)
      reject(signal.reason)
    }
    const job = native.compileBytes(bytes, options, (error, handle) => {
      signal?.removeEventListener('abort', abort)
      events.drain()
      if (error) reject(worded(error, where))
      else resolve(handle)
    })
    signal?.addEventListener('abort', abort, { once: true })
  })
}

module.exports = { compileInBackground, compileNow, worded }
