'use strict'

// What a module can be read from.
//
// Owns: recognising a source, the Response rules of the WebAssembly Web API, and reading any source as a sequence
// of byte chunks that can be cancelled. Knows nothing of compiling.
//
// Everything is recognised by its shape, never by `instanceof`: a Response may come from another realm, from undici
// or from node-fetch, and a stream from a polyfill.
//
// An opened source is an *input*:
//   name           URL or path, '' where there is none (for events and stack traces)
//   cancel(reason) gives up, and lets the producer know
// and one of
//   path           the file to read (file: URLs)
//   bytes          all of it, a Uint8Array
//   next()         promise of the next chunk, a Uint8Array, or null at the end; rejects with the stream's own error
//
// Invariant: a source that fails a check is left untouched (not locked, not disturbed), so that the caller can still
// read it in another way, as wasm-bindgen's and Emscripten's loaders do after a wrong MIME type.

const { inspect, types } = require('node:util')
const { fileURLToPath } = require('node:url')

const { checkReadable } = require('../process/permission.js')
const { isObject } = require('../api/dictionary.js')

function typeError(code, message) {
  const error = new TypeError(message)
  error.code = code
  return error
}

const responseError = (message) => typeError('ERR_WEBASSEMBLY_RESPONSE', `WebAssembly response ${message}`)

const isFunction = (value) => typeof value === 'function'

/** The words of Node's ERR_INVALID_ARG_TYPE, so that both namespaces describe the culprit alike. */
function received(value) {
  if (value === undefined || value === null) return `Received ${value}`
  if (typeof value === 'function') return `Received function ${value.name}`
  if (typeof value === 'object') {
    const name = value.constructor?.name
    return name ? `Received an instance of ${name}` : `Received ${inspect(value, { depth: -1 })}`
  }
  let text = inspect(value, { colors: false })
  if (text.length > 28) text = `${text.slice(0, 25)}...`
  return `Received type ${typeof value} (${text})`
}

function notASource(value) {
  const hint = typeof value === 'string' ? ' (for a file or an address pass a URL object)' : ''
  return typeError(
    'ERR_INVALID_ARG_TYPE',
    'The "source" argument must be an instance of Response, ReadableStream, Readable, Blob, ArrayBuffer or a view, ' +
      `an async iterable of bytes, a file:, http: or https: URL, a Request, or a Promise resolving to one of these. ${received(value)}${hint}`
  )
}

// Bytes

/**
 * A BufferSource. A bare SharedArrayBuffer is none (Web IDL, no [AllowShared]), and V8 says so too; a view on shared
 * memory passes, as it does in V8. The native side copies before it looks, so a racing writer cannot harm.
 */
const isBytes = (value) => ArrayBuffer.isView(value) || types.isArrayBuffer(value)

function toUint8Array(value) {
  if (types.isUint8Array(value)) return value
  // A detached buffer holds no bytes, and no view can be made on it.
  if (value.byteLength === 0) return new Uint8Array(0)
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  return new Uint8Array(value)
}

function toChunk(value) {
  // The words and the code of Node's own WasmStreamingObject.
  if (!isBytes(value)) throw typeError('ERR_INVALID_ARG_TYPE', 'chunk must be an ArrayBufferView or an ArrayBuffer')
  return toUint8Array(value)
}

const bytesInput = (bytes, name) => ({ name, bytes: toUint8Array(bytes), cancel() {} })

/** For a body that can only be had as a whole, and later. */
function promisedInput(load, name) {
  let read = false
  return {
    name,
    async next() {
      if (read) return null
      read = true
      return toChunk(await load())
    },
    cancel() {},
  }
}

// Streams

const isWebStream = (value) => isFunction(value.getReader)
const isNodeStream = (value) => isFunction(value.pipe) && isFunction(value.on)
const isAsyncIterable = (value) => isFunction(value[Symbol.asyncIterator])
const isBlob = (value) => isFunction(value.stream) && isFunction(value.arrayBuffer) && typeof value.size === 'number'

function ignore() {}

function webStreamInput(stream, name) {
  const reader = stream.getReader() // a locked stream throws its TypeError here
  return {
    name,
    async next() {
      const { done, value } = await reader.read()
      if (!done) return toChunk(value)
      // As `for await` leaves a stream, by which Node reads it.
      reader.releaseLock()
      return null
    },
    cancel(reason) {
      Promise.resolve(reader.cancel(reason)).catch(ignore)
    },
  }
}

function iteratorInput(iterator, name) {
  return {
    name,
    async next() {
      const { done, value } = await iterator.next()
      return done ? null : toChunk(value)
    },
    cancel(reason) {
      // Not awaited: an async generator answers only after the step that is under way.
      if (isFunction(iterator.return)) Promise.resolve(iterator.return(reason)).catch(ignore)
    },
  }
}

function nodeStreamInput(stream, name) {
  if (stream.readableEnded === true || (stream.destroyed === true && !stream.errored)) {
    throw typeError('ERR_INVALID_STATE', 'Invalid state: Readable has already been read or destroyed')
  }
  const { Readable } = require('node:stream')
  const readable = isAsyncIterable(stream) ? stream : new Readable().wrap(stream)
  const input = iteratorInput(readable[Symbol.asyncIterator](), name)
  const { cancel } = input
  input.cancel = (reason) => {
    // Without the reason: destroy(reason) emits 'error', and the stream may have no listener. Its later events
    // ("aborted") are of no interest, either.
    readable.on('error', ignore)
    if (readable !== stream) {
      stream.on('error', ignore)
      stream.destroy?.()
    }
    readable.destroy?.()
    cancel(reason)
  }
  return input
}

/** Opens whatever can be the body of a response; undefined for anything else. */
function openBody(body, name) {
  if (isBytes(body)) return bytesInput(body, name)
  if (!isObject(body)) return undefined
  if (isWebStream(body)) return webStreamInput(body, name)
  if (isNodeStream(body)) return nodeStreamInput(body, name)
  if (isBlob(body)) return webStreamInput(body.stream(), name)
  if (isAsyncIterable(body)) return iteratorInput(body[Symbol.asyncIterator](), name)
  return undefined
}

// Responses: https://webassembly.github.io/spec/web-api/#compile-a-potential-webassembly-response

/** The value of Content-Type out of a Headers, a Map or a plain object; several values combined as fetch does. */
function contentType(headers) {
  if (!isObject(headers)) return null
  let value
  if (isFunction(headers.get)) value = headers.get('content-type')
  if (value === undefined || value === null) {
    const entries = types.isMap(headers) ? headers.entries() : Object.entries(headers)
    for (const [name, entry] of entries) {
      if (String(name).toLowerCase() === 'content-type') value = entry
    }
  }
  if (value === undefined || value === null) return null
  return Array.isArray(value) ? value.join(', ') : String(value)
}

/** Steps 2.2 to 2.5. No parameter is allowed, not even an empty one: `application/wasm;` is refused. */
function checkMimeType(value) {
  const essence = value?.replace(/^[\t ]+|[\t ]+$/g, '')
  if (essence === undefined || !/^application\/wasm$/i.test(essence)) {
    throw responseError(`has unsupported MIME type '${value}'`)
  }
}

const isOkStatus = (status) => typeof status === 'number' && status >= 200 && status <= 299

/**
 * The order is the specification's and Node's: MIME type, status, then the body. Network errors and opaque responses
 * (step 2.6) show no headers and status 0: they fail in the first step.
 */
function openResponse(response) {
  checkMimeType(contentType(response.headers))
  const status = response.status ?? response.statusCode
  const ok = response.ok ?? isOkStatus(status)
  if (!ok) throw responseError(`has status code ${status}`)
  if (response.bodyUsed) throw responseError('body has already been used')

  const name = typeof response.url === 'string' ? response.url : ''
  const { body } = response
  if (body === null) return bytesInput(new Uint8Array(0), name)
  // Some implementations of fetch have no streams at all.
  if (body === undefined && isFunction(response.arrayBuffer)) return promisedInput(() => response.arrayBuffer(), name)
  const input = openBody(body, name)
  if (input === undefined) throw notASource(response)
  return input
}

/** http.IncomingMessage and its relatives (http2's, follow-redirects'): a stream that carries headers. */
const isHttpMessage = (stream) => isObject(stream.headers) && typeof stream.httpVersion === 'string'

function openHttpMessage(message) {
  // IncomingMessage keeps only the first Content-Type in `headers`; fetch would see both.
  checkMimeType(contentType(message.headersDistinct ?? message.headers))
  // A request that a server received has no status.
  const { statusCode } = message
  if (statusCode !== null && statusCode !== undefined && !isOkStatus(statusCode)) {
    throw responseError(`has status code ${statusCode}`)
  }
  const { isDisturbed } = require('node:stream')
  if (message.destroyed === true ? !message.errored : isDisturbed(message)) {
    throw responseError('body has already been used')
  }
  return nodeStreamInput(message, addressOf(message))
}

function addressOf({ req }) {
  if (!isFunction(req?.getHeader) || typeof req.path !== 'string') return ''
  return `${req.protocol ?? 'http:'}//${req.getHeader('host') ?? ''}${req.path}`
}

const isFileURL = (value) => typeof value.href === 'string' && value.protocol === 'file:'

/** A URL object, whose address fetch() takes. */
const isHttpURL = (value) => typeof value.href === 'string' && (value.protocol === 'http:' || value.protocol === 'https:')

/** A Request. (A Response has no method.) */
const isRequest = (value) =>
  typeof value.method === 'string' &&
  typeof value.url === 'string' &&
  /^https?:/.test(value.url) &&
  isFunction(value.headers?.forEach) &&
  isFunction(value.clone)

/**
 * The address of a URL object or a Request, without its fragment; undefined for anything else. Well-formed, as the objects
 * that these stand for have it.
 */
function httpAddress(value) {
  if (!isObject(value)) return undefined
  const href = isHttpURL(value) ? value.href : isRequest(value) ? value.url : undefined
  return href?.split('#', 1)[0].toWellFormed()
}

const isResponseLike = (value) => 'body' in value || (isObject(value.headers) && isFunction(value.arrayBuffer))

/** Files of archives that `node:fs` alone can look into: yarn's Plug'n'Play has packages as such, Electron whole programs. */
const isInArchive = (path) =>
  (process.versions.pnp !== undefined && /\.zip[\\/]/.test(path)) ||
  (process.versions.electron !== undefined && /\.asar[\\/]/.test(path))

/** The native side reads it, or does not even do that. */
function openFile(href) {
  const path = fileURLToPath(href)
  checkReadable(path)
  if (isInArchive(path)) return promisedInput(() => require('node:fs').promises.readFile(path), href)
  return { name: href, path, cancel: ignore }
}

/**
 * Opens a source (not a promise of one).
 * @throws {TypeError} with `code` where it is no source, or one that may not or cannot be read
 */
function open(source) {
  if (isBytes(source)) return bytesInput(source, '')
  if (!isObject(source)) throw notASource(source)
  if (isFileURL(source)) return openFile(source.href)
  if (isNodeStream(source)) {
    if (isHttpMessage(source)) return openHttpMessage(source)
    return nodeStreamInput(source, typeof source.path === 'string' ? source.path : '')
  }
  const input = openBody(source, '')
  if (input !== undefined) return input
  if (isResponseLike(source)) return openResponse(source)
  throw notASource(source)
}

/** Cancels a source (or the promise of one) that was never opened; never throws. */
function discard(source, reason) {
  Promise.resolve(source)
    .then((value) => {
      if (!isObject(value) || isBytes(value) || isFileURL(value)) return
      const input = openBody(value, '') ?? openBody(value.body, '')
      input?.cancel(reason)
    })
    .catch(ignore)
}

module.exports = { discard, httpAddress, isBytes, isRequest, open }
