'use strict'

// compileStreaming and instantiateStreaming with `engine: 'auto'`, while nothing is ours: the built-in's, which get the
// response as it is. So that the module is known the next time, its bytes are left that V8 then has; where those are not to be
// had, the built-in gets a response that leaves a copy of what passes in a file.

const fs = require('node:fs')

const { isObject } = require('../api/dictionary.js')
const { leftAt, mayLeave, replace, seenModule } = require('./folder.js')
const ours = require('./ours.js')
const { builtin, compiles } = require('../process/realm.js')
const { sampleAddress } = require('./sample.js')
const { keep, state } = require('./state.js')
const { tell } = require('./tell.js')
const { NOT_KNOWN, choose, chooseByAddress, write } = require('./verdicts.js')
const host = require('../code/host.js')
const { textOf } = require('../code/standard.js')
const { isMainThread } = require('../process/thread.js')

const { apply } = Reflect

/* eslint-disable n/no-unsupported-features/node-builtins -- both are there where the built-in streams */

// The built-in's streaming functions take nothing else.
const isResponse = (value) => isObject(value) && value instanceof Response

/** An address may have secrets in its query. */
const sourceOf = (address) => address.split(/[?#]/, 1)[0]

/** Whether the server wants nothing of it to be kept. */
const isSecret = ({ headers }) => /\bno-store\b/i.test(headers.get('cache-control') ?? '')

/** A copy on its way into a file; undefined where none can be made. */
class Copy {
  #file
  #fd
  #size = 0

  static begin() {
    try {
      return new Copy()
    } catch {
      return undefined
    }
  }

  constructor() {
    this.#file = seenModule(`${process.pid}-${Math.random().toString(36).slice(2)}`).replace(/\.wasm$/, '.tmp')
    fs.mkdirSync(require('node:path').dirname(this.#file), { recursive: true, mode: 0o700 })
    this.#fd = fs.openSync(this.#file, 'wx+', 0o600)
  }

  append(chunk) {
    if (this.#fd === undefined) return
    try {
      fs.writeSync(this.#fd, chunk)
      this.#size += chunk.byteLength
    } catch {
      this.drop()
    }
  }

  drop() {
    if (this.#fd === undefined) return
    fs.closeSync(this.#fd)
    this.#fd = undefined
    fs.rmSync(this.#file, { force: true })
  }

  #read(from, to) {
    const bytes = new Uint8Array(to - from)
    fs.readSync(this.#fd, bytes, 0, bytes.length, from)
    return bytes
  }

  /** All of `address` has come. @returns the name under which it was left, if it was */
  end(address, options) {
    if (this.#fd === undefined) return undefined
    try {
      const bytes = { length: this.#size, subarray: (from, to) => this.#read(from, to) }
      return leave(bytes, address, options, (file) => fs.renameSync(this.#file, file))
    } catch {
      // It runs as it does without us.
      return undefined
    } finally {
      this.drop()
    }
  }
}

/**
 * Leaves a module of which nothing is known.
 *
 * @param {{length: number, subarray: (from: number, to: number) => Uint8Array}} bytes
 * @param {string} address
 * @param {object} options
 * @param {(file: string) => void} put as ./seen.js takes it
 * @param {boolean} [isKept] whether V8 has the bytes
 * @returns {string | undefined} the name under which it was left
 */
function leave(bytes, address, options, put, isKept = false) {
  const { length } = bytes
  if (length < options.minSize) return undefined
  const { partition, standard } = options
  const choice = choose(bytes, options)
  const { name, known, isBuiltin, isSuspending } = choice
  const names = address === '' ? [name] : [name, sampleAddress(address, options)]
  tell(choice, length, sourceOf(address))
  if (!choice.isAsked) {
    // It was known, by another address or as bytes.
    if (known !== undefined) write(names.slice(1), known)
    return undefined
  }
  if (leftAt(name).isRecent) return undefined
  const facts = { size: length, source: sourceOf(address), partition, standard, names, isBuiltin, isSuspending }
  require('./seen.js').leave(name, put, facts, options, isKept)
  return name
}

/** Whether V8's bytes of a module are to be had, in this thread. */
const hasWire = () => isMainThread && host.load() !== undefined

/** The same for a module that V8 has made. */
function leaveMade(module, address, options) {
  try {
    const bytes = new Uint8Array(host.load().wire(module))
    return leave(bytes, address, options, (file) => replace(file, bytes), true)
  } catch {
    return undefined // It runs as it does without us.
  }
}

/** The same response, with what reads its body. */
function respond(response, body) {
  const { status, statusText, headers, url } = response
  const other = new Response(body, { status, statusText, headers })
  // The built-in names the module by it.
  return Object.defineProperty(other, 'url', { value: url })
}

async function* passing(body, address, options, left) {
  const copy = Copy.begin()
  let isWhole = false
  try {
    for await (const chunk of body) {
      copy?.append(chunk)
      yield chunk
    }
    isWhole = true
  } finally {
    if (isWhole) left.name = copy?.end(address, options)
    else copy?.drop()
  }
}

/** What the built-in gets in the place of a response, or that this package's engine is to have it. */
async function decide(response, options) {
  const left = {}
  if (!response.ok || response.bodyUsed || response.body === null) return { response }
  if (response.url === '') {
    // Made by the program, which has the bytes already.
    const bytes = new Uint8Array(await response.clone().arrayBuffer())
    const choice = choose(bytes, options)
    if (choice.isAsked && mayLeave(options)) {
      if (hasWire()) left.isMade = true
      else {
        const copy = Copy.begin()
        copy?.append(bytes)
        left.name = copy?.end('', options)
      }
    }
    return { response, choice, left }
  }
  const choice = chooseByAddress(response.url, options)
  if (choice !== undefined && !choice.isAsked) {
    if (choice.engine === 'builtin') tell(choice, 0, sourceOf(response.url))
    return { response, choice }
  }
  if (isSecret(response)) return { response }
  if (!mayLeave(options)) {
    tell(choice ?? { engine: 'builtin', reason: NOT_KNOWN }, 0, sourceOf(response.url))
    return { response }
  }
  if (hasWire()) return { response, choice, left: { isMade: true } }
  if (ReadableStream.from === undefined) return { response }
  return { response: respond(response, ReadableStream.from(passing(response.body, response.url, options, left))), left }
}

/** What Node compiles; it refuses the others. */
const isWasm = ({ headers }) => headers.get('content-type') === 'application/wasm'

/** A module of V8's own code, once all bytes have come; else the same response anew. */
async function revived(response, choice, { partition }) {
  const bytes = new Uint8Array(await response.arrayBuffer())
  const about = { partition, source: sourceOf(response.url), url: response.url }
  const module = require('../code/revive.js').revive(bytes, choice, about, builtin)
  if (module !== undefined) keep(module)
  return { module, response: module === undefined ? respond(response, bytes) : undefined }
}

async function stream(name, list, defaults, engage) {
  // The standard's own options, which shape the code, come last. Where they cannot be read, the module stays as it is.
  const standard = textOf(list[name === 'compileStreaming' ? 1 : 2])
  const options = { ...defaults, standard: standard ?? '' }
  const source = await list[0]
  const rest = Array.prototype.slice.call(list, 1)
  // Whatever else is a source to this package's engine.
  if (state.isEngaged || (!isResponse(source) && engage())) return ours().operations[name](source, ...rest)
  const { response, choice, left } =
    isResponse(source) && standard !== undefined ? await decide(source, options) : { response: source }
  if (state.isEngaged || (choice?.engine === 'ours' && engage())) return ours().operations[name](response, ...rest)
  const given = await made(name, response, rest, choice, options)
  const module = name === 'compileStreaming' ? given : given.module
  const leftAs = left?.isMade ? leaveMade(module, response.url, options) : left?.name
  if (leftAs !== undefined) require('./seen.js').note(leftAs, module)
  return given
}

/** What the built-in makes of a response. */
async function made(name, response, rest, choice, options) {
  const [isCompile, compile] = [name === 'compileStreaming', (one) => apply(builtin[name], builtin, [one, ...rest])]
  if (!choice?.hasCode || !isWasm(response) || !compiles) return compile(response)
  const { module, response: anew } = await revived(response, choice, options)
  if (module === undefined) return compile(anew)
  return isCompile ? module : { module, instance: await builtin.instantiate(module, rest[0]) }
}

module.exports = {
  compile: (...given) => stream('compileStreaming', ...given),
  instantiate: (...given) => stream('instantiateStreaming', ...given),
}
