'use strict'

// compileStreaming and instantiateStreaming.
//
// Owns: bringing a source's chunks to the native compiler, back-pressure, and the three ways to end early (an error
// of the source, an error of the module, the caller's signal). ./sources.js knows what a source is, the caller what a
// module is.

const fs = require('node:fs')
const { setImmediate } = require('node:timers')

const { Compilation } = require('./compilation.js')
const { bytesToCompile, worded } = require('./compile.js')
const fallback = require('./fallback.js')
const sources = require('./sources.js')
const { leaving } = require('../api/stack.js')
const { isObject } = require('../api/dictionary.js')

// Loaded when a source with an address is streamed: it needs node:crypto.
const resources = () => require('./resources.js')

// Reading stops while more bytes than this wait in the native queue; the addon says "drained" at 1 MiB.
const HIGH_WATER = 4 * 1024 * 1024

// A source whose chunks are all in memory never leaves the microtask queue. It gives the event loop a turn this often
// (ms), or neither an early error nor an abort could come through.
const TURN = 8

const now = () => performance.timeOrigin + performance.now()

async function collect(input) {
  if (input.path !== undefined) return fs.promises.readFile(input.path)
  if (input.bytes !== undefined) return input.bytes
  const chunks = []
  for (let chunk = await input.next(); chunk !== null; chunk = await input.next()) chunks.push(Uint8Array.from(chunk))
  return Buffer.concat(chunks)
}

/**
 * One source on its way to a module.
 *
 * Invariant: whoever settles the compilation first ends the source, too.
 */
class Streaming {
  #native
  #events
  #where
  #options
  #compilation
  #input = null
  #stream = null // the event of a stream that is being read
  #fetching = null // ends what we fetch

  constructor({ native, events, where, options }) {
    this.#native = native
    this.#events = events
    this.#where = where
    this.#options = options
    this.#compilation = new Compilation(native, options, where, (reason) => this.#end(reason))
  }

  /** @returns {Promise<{handle: object} | {module: object}>} as Compilation.run */
  run(source) {
    return this.#compilation.run(() => this.#start(source).catch((error) => this.#compilation.fail(error)))
  }

  async #start(source) {
    const compilation = this.#compilation
    // Bytes are taken as they are at the time of the call. Everything else waits for a microtask, as in V8: a
    // Response passed here can still be cloned in the same turn.
    const value = sources.isBytes(source) ? source : await source
    if (compilation.isSettled) return sources.discard(value, compilation.reason)

    const isAddress = sources.httpAddress(value) !== undefined
    const retrieved = isAddress ? await this.#retrieve(value) : { response: value }
    if (compilation.isSettled) return sources.discard(retrieved.response, compilation.reason)
    if (retrieved.handle !== undefined) return compilation.done(retrieved)
    const input = sources.open(retrieved.response)
    this.#input = input
    const options = { ...this.#options.native, source: this.#options.native.source || input.name.toWellFormed() }
    if (fallback.wantsAllBytes(this.#options)) {
      const bytes = bytesToCompile(await collect(input), this.#where)
      if (!compilation.isSettled) compilation.compileBytes(bytes, options)
      return
    }
    const done = (error, handle, refused) => {
      if (error === null) compilation.done({ handle })
      // The words of the file system (a file: URL) are left as they are.
      else if (error.name !== 'CompileError') compilation.fail(error)
      else compilation.fallBack(worded(error, this.#where), refused, options)
    }
    if (input.path !== undefined) {
      compilation.wait((then) => this.#native.compileFile(input.path, options, then), done)
      return
    }
    const { fetched, likely } = isAddress ? retrieved : resources().recognize(value, this.#native, this.#options)
    const job = compilation.wait((then) => this.#native.compileBegin({ ...options, fetched, likely }, then), done)
    const event = { name: 'streamFromResponseCallback', ts: now(), dur: 0, bytes: 0, chunks: 0, source: options.source }
    this.#stream = event
    if (input.bytes !== undefined) this.#push(job, input.bytes, event)
    else await this.#pump(job, input, event)
    this.#endStream()
    // A subscriber of the event may have aborted.
    if (!compilation.isSettled) this.#native.compileEnd(job)
  }

  /** Fetches a URL or a Request. @returns as retrieve() in ./resources.js */
  #retrieve(source) {
    const { signal } = source
    if (signal?.aborted) throw signal.reason
    this.#compilation.heed(signal)
    this.#fetching = new AbortController()
    return resources().retrieve(source, {
      native: this.#native,
      options: this.#options,
      caching: !fallback.wantsAllBytes(this.#options),
      signal: this.#fetching.signal,
      compile: (record, fetched) => this.#compileKnown(record, fetched),
    })
  }

  /** Makes a module of what was kept of a URL; the handle, or null if it is gone. */
  #compileKnown({ hash, size, url }, fetched) {
    return new Promise((resolve, reject) => {
      const options = { ...this.#options.native, source: this.#options.native.source || url, fetched }
      this.#compilation.wait(
        (then) => this.#native.resourceCompile(hash, options, then, size),
        (error, handle) => {
          if (error === null) resolve(handle)
          else reject(worded(error, this.#where))
        }
      )
    })
  }

  #push(job, chunk, event) {
    event.bytes += chunk.byteLength
    event.chunks += 1
    return this.#native.compilePush(job, chunk)
  }

  async #pump(job, input, event) {
    let turned = event.ts
    for (;;) {
      const chunk = await input.next()
      if (this.#compilation.isSettled || chunk === null) return
      if (this.#push(job, chunk, event) > HIGH_WATER) {
        await new Promise((resolve) => this.#native.compileDrained(job, resolve))
      } else if (now() - turned > TURN) {
        await new Promise(setImmediate)
        turned = now()
      }
      if (this.#compilation.isSettled) return
    }
  }

  #endStream() {
    const event = this.#stream
    if (event === null) return
    this.#stream = null
    event.dur = now() - event.ts
    this.#events.emit(event)
  }

  #end(reason) {
    try {
      this.#input?.cancel(reason)
    } catch {
      // The caller has the first error; that the source cannot be cancelled adds nothing.
    }
    this.#fetching?.abort(reason)
    this.#endStream()
  }
}

/**
 * @param {object} engine
 * @param {(compiled: object) => object} engine.moduleOf
 * @param {(module: object, imports: object | undefined) => object} engine.instantiateModule an Instance, or its promise
 * @param {(options: unknown, where: string) => object} engine.readOptions
 */
function makeStreaming({
  moduleOf,
  instantiateModule,
  readOptions,
  native = require('../process/addon.js'),
  events = require('../events/events.js'),
}) {
  async function compile(source, options, where) {
    const { signal } = options
    if (signal?.aborted) {
      sources.discard(source, signal.reason)
      throw signal.reason
    }
    try {
      return await new Streaming({ native, events, where, options }).run(source)
    } finally {
      events.drain()
    }
  }

  async function compileStreaming(source, options) {
    try {
      const where = 'WebAssembly.compileStreaming()'
      return moduleOf(await compile(source, readOptions(options, where), where))
    } catch (error) {
      throw leaving(error, functions.compileStreaming) // node-do-not-add-exception-line
    }
  }

  async function instantiateStreaming(source, imports, options) {
    try {
      const where = 'WebAssembly.instantiateStreaming()'
      // Before the source is looked at: a caller's mistake must not cost the download.
      if (imports !== undefined && !isObject(imports)) throw new TypeError(`${where}: Argument 1 must be an object`)
      const read = readOptions(options, where)
      const module = moduleOf(await compile(source, read, where))
      if (read.signal?.aborted) throw read.signal.reason
      const instance = await instantiateModule(module, imports)
      return { module, instance }
    } catch (error) {
      throw leaving(error, functions.instantiateStreaming) // node-do-not-add-exception-line
    }
  }

  // Defaults keep `length` at 1, and methods have no [[Construct]] and Function.prototype for a prototype, all as in the
  // built-in namespace.
  const functions = {
    compileStreaming(source, options = undefined) {
      return compileStreaming(source, options)
    },
    instantiateStreaming(source, imports = undefined, options = undefined) {
      return instantiateStreaming(source, imports, options)
    },
  }
  return functions
}

module.exports = { makeStreaming }
