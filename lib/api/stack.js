'use strict'

// Stacks of errors, as V8 writes them: frames of wasm where this package's closures were called.
//
// V8 noted an error's stack when the error was made, with a frame for every closure of ours. Native code knows what
// those frames stand for when a call fails. Both are kept until the stack is read, because its first line is the
// error's text at that moment.

const { isNativeError } = require('node:util').types
const { shared } = require('../process/copies.js')
const { native, classes } = require('../process/native.js')
const places = require('../places.js')
const { v8 } = require('./webidl.js')

const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Reflect
const { captureStackTrace } = Error
const { toString: errorToString } = Error.prototype

/** A frame of wasm, as V8's structured stack traces have it. */
class CallSite {
  #url
  #module
  #name
  #index
  #start
  #offset

  constructor([moduleName, hash, functionName, index, start, offset]) {
    this.#url = `wasm://wasm/${moduleName === null ? '' : `${moduleName.slice(0, MAX_NAME)}-`}${hash}`
    this.#module = moduleName
    this.#name = functionName
    this.#index = index
    this.#start = start
    this.#offset = offset
  }

  getThis() {}

  getTypeName() {
    return null
  }

  getFunction() {
    return this.#index
  }

  getFunctionName() {
    return this.#name
  }

  getMethodName() {
    return null
  }

  getFileName() {
    return this.#url
  }

  getLineNumber() {
    return 1
  }

  getColumnNumber() {
    return this.#offset + 1
  }

  getEvalOrigin() {}

  isToplevel() {
    return false
  }

  isEval() {
    return false
  }

  isNative() {
    return false
  }

  isConstructor() {
    return false
  }

  isAsync() {
    return false
  }

  isPromiseAll() {
    return false
  }

  getPromiseIndex() {
    return null
  }

  getScriptNameOrSourceURL() {
    return this.#url
  }

  getScriptHash() {
    return ''
  }

  getEnclosingColumnNumber() {
    return this.#start
  }

  getEnclosingLineNumber() {
    return 1
  }

  getPosition() {
    return this.#offset
  }

  toString() {
    const place = `${this.#url}:wasm-function[${this.#index}]:0x${this.#offset.toString(16)}`
    const names = [this.#module, this.#name].filter((name) => name !== null)
    return names.length === 0 ? place : `${names.join('.')} (${place})`
  }
}

/** V8 prints that much of a module's name in a URL. */
const MAX_NAME = 100

// Error.stackTraceLimit and prepareStackTrace are read as the properties they are: no getter of the program's is run.
const valueOf = (name) => getOwnPropertyDescriptor(Error, name)?.value

function currentLimit() {
  const limit = valueOf('stackTraceLimit')
  return typeof limit === 'number' ? Math.max(0, Math.floor(limit)) : 0
}

/** Runs `action` with another value of a property of Error, if it can be changed without the program's noticing. */
function withError(name, value, action) {
  const before = getOwnPropertyDescriptor(Error, name)
  const replaceable = before === undefined ? Object.isExtensible(Error) : before.configurable === true
  if (!replaceable) return action()
  defineProperty(Error, name, { value, writable: true, enumerable: true, configurable: true })
  try {
    return action()
  } finally {
    if (before === undefined) Reflect.deleteProperty(Error, name)
    else defineProperty(Error, name, before)
  }
}

// Below these, a frame of ./function.js is a call that went into wasm; elsewhere it still read its arguments.
const ABOVE_WASM = new Set(['api/adapter.js', 'api/exception.js', 'api/group.js', 'process/native.js', 'api/stack.js'])
// Of these nothing is left when the frames of wasm are there. Others are the API's, whose functions have their callers
// put in the place of their frames as the error leaves them (see `leaving`); until then the frames are kept, not shown.
const OF_CALLS = new Set([...ABOVE_WASM, 'api/function.js', 'api/slab.js', 'api/value.js'])

/**
 * Frames with those of calls into wasm and out of it replaced; `calls` has the frames of the calls into wasm, the
 * innermost first.
 */
function replaceFrames(frames, calls) {
  const replaced = []
  let above
  let next = 0
  for (const frame of frames) {
    const name = nameOf(frame)
    if (name === undefined) replaced.push([frame])
    else if (name === 'api/function.js' && ABOVE_WASM.has(above)) replaced.push(calls[next++] ?? [])
    else if (!OF_CALLS.has(name)) replaced.push([frame])
    above = name
  }
  // V8 had no room for the closure itself.
  if (ABOVE_WASM.has(above)) replaced.push(calls[next] ?? [])
  return replaced.flat()
}

const OWN = `${__dirname}/`

/** The file of lib/ that a line of this one is from. */
const fileAt = (file, line) => (file === __filename ? places.findLast(([first]) => first <= line)?.[1] : file)

function siteName(site) {
  const file = site.getFileName()
  return typeof file === 'string' && file.startsWith(OWN) ? fileAt(file, site.getLineNumber()) : undefined
}

function lineName(line) {
  const from = line.indexOf(OWN)
  if (from === -1) return undefined
  const [, file, number] = /^([^:]*):(\d+)/.exec(line.slice(from))
  return fileAt(file, Number(number))
}

/** The file of a frame, as a call site or as it was written, if it is one of this package. */
const nameOf = (frame) => (typeof frame === 'string' ? lineName(frame) : siteName(frame))

const AT = '\n    at '

const isOwn = (frame) => nameOf(frame) !== undefined

/** A function of the language's own, like Array.prototype.map. */
const isOfLanguage = (frame) => `${frame}`.endsWith('(<anonymous>)')

/** Where the innermost call of this package from `start` on begins and ends, with what it called of the language's own. */
function ownCall(frames, start = 0) {
  let first = start
  while (first < frames.length && !isOwn(frames[first])) first++
  if (first === frames.length) return undefined
  let from = first
  while (from > start && isOfLanguage(frames[from - 1])) from--
  let to = first + 1
  for (let k = to; k < frames.length && (isOwn(frames[k]) || isOfLanguage(frames[k])); k++) {
    if (isOwn(frames[k])) to = k + 1
  }
  return { from, to }
}

/** Frames without this package's. */
function visible(frames, limit) {
  const shown = []
  let next = 0
  while (next < frames.length) {
    const call = ownCall(frames, next)
    shown.push(frames.slice(next, call?.from))
    next = call?.to ?? frames.length
  }
  return shown.flat().slice(0, limit)
}

const framesOf = ({ sites, text }) => sites ?? text.split(AT).slice(1)

/** In a stack that was written already, what is before its frames stays as it is. */
const withFrames = ({ sites, text }, frames) =>
  sites === undefined ? { text: [text.split(AT, 1)[0], ...frames].join(AT) } : { sites: frames }

/** An error of Node's own names its code, too. */
function headOf(error) {
  const isNodeError = [error, getPrototypeOf(error)].some((object) =>
    Object.getOwnPropertySymbols(object ?? {}).some((symbol) => symbol.description === 'kIsNodeError')
  )
  try {
    return isNodeError ? `${error.name} [${error.code}]: ${error.message}` : apply(errorToString, error, [])
  } catch {
    return '<error>'
  }
}

function format(error, sites) {
  const prepare = Error.prepareStackTrace
  if (typeof prepare === 'function') return apply(prepare, Error, [error, sites])
  return [headOf(error), ...sites].join(AT)
}

// Newer versions of Node have a function of their own here.
const PREPARE = valueOf('prepareStackTrace')

// What V8 from 12 on shows as the accessor of every error's stack; before, it looks like a value.
const INTERNAL = getOwnPropertyDescriptor(new Error(), 'stack').get

/** That of every realm that is known; any of them does for an error of any realm. */
const internals = shared('accessors of stacks', () => new WeakSet())

/** @param {Error} error one of V8's, as it made it, of a realm that has one more of them */
function knowRealmOf(error) {
  const { get } = getOwnPropertyDescriptor(error, 'stack')
  if (get !== undefined) internals.add(get)
}

knowRealmOf(new Error())

/**
 * What V8 noted: `sites`, or `text` if that was written already; undefined if the stack is not V8's, or cannot be
 * replaced.
 */
function noted(error) {
  // That it cannot be replaced has to be known before V8 writes it.
  if (!Object.isExtensible(error)) return undefined
  const own = defined.get(error)
  if (own !== undefined && own.get === getOwnPropertyDescriptor(error, 'stack')?.get) {
    const stack = own.stack()
    return stack.sites !== undefined || typeof stack.text === 'string' ? stack : undefined
  }
  let sites
  const collect = (_, value) => (sites = value)
  const read = () => {
    const property = getOwnPropertyDescriptor(error, 'stack')
    if (property?.configurable !== true) return undefined
    if (property.get === undefined) return property.value
    return internals.has(property.get) ? apply(INTERNAL, error, []) : undefined
  }
  // Node's source maps are applied by the function that this one would take the place of, if not the program's does.
  // eslint-disable-next-line n/no-unsupported-features/node-builtins -- undefined where there is no such switch
  const mapped = process.sourceMapsEnabled === true && valueOf('prepareStackTrace') === PREPARE
  const text = mapped ? read() : withError('prepareStackTrace', collect, read)
  if (Array.isArray(sites) && text === sites) return { sites }
  return typeof text === 'string' ? { text } : undefined
}

/** Error -> {get, stack}: the accessor that it got here, and what that one shows, as {@link noted} gives it. */
const defined = shared('stacks', () => new WeakMap())

/** `stack` gives what {@link noted} does; it is called at most once. */
function defineStack(error, stack, limit) {
  let given
  let value
  let known = false
  const give = () => (given ??= stack())
  // Assigned to a variable they would get its name, and V8's have none.
  const [get, set] = [
    function () {
      if (!known) {
        known = true
        const frames = visible(framesOf(give()), limit)
        value = given.sites === undefined ? withFrames(given, frames).text : format(error, frames)
      }
      return value
    },
    function (replacement) {
      known = true
      value = replacement
      given = { text: replacement }
    },
  ]
  defineProperty(error, 'stack', { get, set, enumerable: false, configurable: true })
  defined.set(error, { get, stack: () => (known && given.sites !== undefined ? { text: value } : give()) })
}

/** Whether `frames` go on from number `to` with `callers`, as far as there are any. */
const continues = (frames, to, callers) => frames.slice(to, to + callers.length).every((frame, k) => `${frame}` === `${callers[k]}`)

// For the closures on the way here, which are not shown.
const ROOM = 8

const callIn = (frames) => frames.findIndex((frame) => nameOf(frame) === 'api/function.js')

/** Gives the frames of a stack, with those below an import's adapter for which V8 had no room beside ours. */
function completer(stack, limit) {
  const frames = framesOf(stack)
  const call = frames.length === limit ? ownCall(frames) : undefined
  if (call === undefined) return () => frames
  const now = withError('stackTraceLimit', limit + ROOM, () => new Error())
  return () => {
    const below = framesOf(noted(now))
    const at = callIn(below)
    if (at === -1) return frames
    const callers = below.slice(at)
    const before = callIn(frames)
    const to = before === -1 ? call.to : before
    return continues(frames, to, callers) ? frames.slice(0, to).concat(callers) : frames
  }
}

/** Errors whose frames were replaced. */
const done = shared('errors whose frames were replaced', () => new WeakSet())

function replaceStack(error, calls, limit) {
  const stack = noted(error)
  if (stack === undefined) return
  const complete = completer(stack, limit)
  defineStack(error, () => withFrames(stack, replaceFrames(complete(), calls)), limit)
}

// V8 notes no more calls than frames.
const callsNow = (limit) => native.traceFrames(limit, limit + ROOM).map((frames) => frames.map((frame) => new CallSite(frame)))

/** An error of this realm whose stack shows nothing of this package. */
function makeError(Class, message, calls = () => []) {
  const limit = currentLimit()
  if (limit === 0) return new Class(message)
  const error = withError('stackTraceLimit', limit + ROOM, () => new Class(message))
  done.add(error)
  replaceStack(error, calls(limit), limit)
  return error
}

/** What V8 would throw for a trap; a stack overflow has no words. `traced` says whether wasm was running. */
function trapped(words, traced) {
  const calls = traced ? callsNow : undefined
  if (words === undefined) return makeError(RangeError, 'Maximum call stack size exceeded', calls)
  // V8 14 shortened it.
  const shorter = v8 >= 14 && words === 'null function or function signature mismatch'
  if (words.startsWith('out of memory')) return makeError(RangeError, words, calls)
  return makeError(classes.RuntimeError, shorter ? 'function signature mismatch' : words, calls)
}

/** The frames below that of `fn`; none where it is not on the stack. */
function callersOf(fn) {
  const error = new Error()
  captureStackTrace(error, fn)
  return framesOf(noted(error))
}

function hideCall(error, fn) {
  const limit = currentLimit()
  const stack = limit === 0 ? undefined : noted(error)
  if (stack === undefined) return
  const frames = framesOf(stack)
  const call = ownCall(frames)
  if (call?.from === 0) {
    // Made here, or by V8 for us.
    captureStackTrace(error, fn)
    return
  }
  // First of all, because V8 has shown what it noted, and what follows may find no room on the stack.
  let shown = stack
  defineStack(error, () => shown, limit)
  if (call === undefined) return
  // The program's, made by what this call called, or by an earlier call.
  const callers = callersOf(fn)
  if (continues(frames, call.to, callers)) shown = withFrames(stack, frames.slice(0, call.from).concat(callers))
}

/**
 * For each error that leaves a function of the API: its stack is that of an error of V8's own function. It begins with
 * the caller, or where the program was called back, goes on with it; below an asynchronous function there is nobody
 * once it has returned.
 *
 * To be thrown in a line with the comment `node-do-not-add-exception-line`: above an uncaught error Node prints the line
 * that threw it, which would be ours, but none that says so (GetErrorSource of node_errors.cc).
 *
 * @param {unknown} error
 * @param {Function} fn the function of the API that was called
 */
function leaving(error, fn) {
  try {
    if (isNativeError(error)) hideCall(error, fn)
  } catch {
    // The stack is full.
  }
  return error
}

/** An error that an import threw leaves wasm. */
function passed(error) {
  if (done.has(error)) return
  done.add(error)
  const limit = currentLimit()
  if (limit > 0) replaceStack(error, callsNow(limit), limit)
}

/** An import threw into wasm that has handlers: its callers are those that wait now, wherever the error leaves wasm. */
function threw(error) {
  if (!isNativeError(error)) return
  try {
    native.noteCallers()
    passed(error)
  } catch {
    // The stack is full.
  }
}

module.exports = { knowRealmOf, leaving, passed, threw, trapped }
