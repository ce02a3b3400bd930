'use strict'

// From bytes to a native module handle, at once or in the background.

const events = require('./events.js')
const fallback = require('./fallback.js')
const { native, classes } = require('./native.js')
const { bytesOf } = require('./webidl.js')

/** V8 puts the function that was called before the message; native does not know which one that was. */
function worded(error, where) {
  const { name, message } = error
  if (!(error instanceof Error) || message.startsWith('WebAssembly.')) return error
  error.message = `${where}: ${message}`
  // V8's have no code: ours is for those who ask, not for those who print the error.
  if (Object.hasOwn(error, 'code')) Object.defineProperty(error, 'code', { enumerable: false })
  if (typeof error.stack === 'string') {
    error.stack = error.stack.replace(`${name}: ${message}`, () => `${name}: ${error.message}`)
  }
  return error
}

function bytesToCompile(source, where) {
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
  return new Promise((resolve, reject) => {
    const bytes = bytesToCompile(source, where)
    if (signal?.aborted) throw signal.reason
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
