'use strict'

// One module on its way through native's background compiler, from bytes (here) or from a source (./streaming.js).

const { optionsForOurs } = require('./choice.js')
const fallback = require('./fallback.js')
const { bytesToCompile, worded } = require('./compile.js')
const events = require('../events/events.js')
const { native } = require('../process/native.js')

/**
 * Invariant: it settles once. Whoever settles it first ends the other parties: a failure of any of them aborts the
 * native job, and is told to `onFailure`, which ends the source.
 */
class Compilation {
  #native
  #options
  #where
  #onFailure
  #job = null
  #settled = false
  #reason
  #resolve
  #reject
  #heeded = [] // [signal, listener]

  /**
   * @param {object} engine native, or what a test has in its place
   * @param {object} options as ./options.js reads them
   * @param {string} where the function that was called
   * @param {(reason: unknown) => void} [onFailure]
   */
  constructor(engine, options, where, onFailure = () => {}) {
    this.#native = engine
    this.#options = options
    this.#where = where
    this.#onFailure = onFailure
  }

  /**
   * @param {() => void} begin
   * @returns {Promise<{handle: object} | {module: object}>} compiled by us, or by the built-in engine
   */
  run(begin) {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
      this.heed(this.#options.signal)
      begin()
    })
  }

  get isSettled() {
    return this.#settled
  }

  /** Why it failed. */
  get reason() {
    return this.#reason
  }

  /** Ends with a signal's abort. */
  heed(signal) {
    if (signal === undefined) return
    const listener = () => this.fail(signal.reason)
    this.#heeded.push([signal, listener])
    signal.addEventListener('abort', listener, { once: true })
  }

  /**
   * A native job: the one that this waits for, until another one begins.
   *
   * @param {(done: (error: Error | null, handle: object, refused?: Uint8Array | null) => void) => object} begin gives the job
   * @param {(error: Error | null, handle: object, refused?: Uint8Array | null) => void} done
   */
  wait(begin, done) {
    this.#job = begin((...outcome) => {
      this.#job = null
      done(...outcome)
    })
    return this.#job
  }

  /** All bytes at once. Native copies them before it returns. */
  compileBytes(bytes, given) {
    const own = optionsForOurs(bytes, { ...this.#options, native: given })
    if (own === undefined) {
      this.#settleWith(fallback.compileThereLater(bytes, this.#options, this.#where))
      return
    }
    this.#options = own
    const options = own.native
    const refusal = fallback.refusalOf(bytes, { ...this.#options, native: options })
    if (refusal !== undefined) {
      this.fallBack(refusal, bytes.slice(), options)
      return
    }
    this.wait(
      (done) => this.#native.compileBytes(bytes, options, done),
      (error, handle, refused) => {
        events.drain()
        if (error === null) this.done({ handle })
        else this.fallBack(worded(error, this.#where), refused, options)
      }
    )
  }

  /** The built-in engine's turn; `refused` is null where the bytes are not all there. */
  fallBack(error, refused, options) {
    this.#settleWith(fallback.compileLater(error, refused, { ...this.#options, native: options }, this.#where))
  }

  #settleWith(promise) {
    promise.then(
      (compiled) => this.done(compiled),
      (reason) => this.fail(reason)
    )
  }

  done(compiled) {
    if (this.#settled) return
    this.#settle()
    this.#resolve(compiled)
  }

  fail(reason) {
    if (this.#settled) return
    this.#settle()
    this.#reason = reason
    this.#reject(reason)
    if (this.#job !== null) this.#native.compileAbort(this.#job)
    this.#job = null
    this.#onFailure(reason)
  }

  #settle() {
    this.#settled = true
    for (const [signal, listener] of this.#heeded) signal.removeEventListener('abort', listener)
  }
}

/** "Asynchronously compile a WebAssembly module". The bytes are copied before it returns. */
function compileInBackground(source, options, where) {
  const bytes = bytesToCompile(source, where)
  const { signal } = options
  if (signal?.aborted) throw signal.reason
  const compilation = new Compilation(native, options, where)
  return compilation.run(() => compilation.compileBytes(bytes, options.native))
}

module.exports = { Compilation, compileInBackground }
