'use strict'

// Checks of __test__/conformance: the same closure on two engines, and what the specification says of its outcome.
//
// A check is written from the text of an algorithm, which its title names: the heading, or the fragment of
// https://webassembly.github.io/spec/js-api/ (web-api/ in streaming.test.js). Its closure gets a WebAssembly namespace and
// returns what JavaScript can observe. The outcome on the engine under test has to be
//   - the outcome on this Node's own WebAssembly, word for word, and
//   - `expected`, the specification's, where one is given. It names classes of errors, for the specification has no
//     messages. It is missing where the text leaves room, or where V8 is known to do otherwise (a comment says what):
//     there this Node's own engine is the measure.
// With ENGINE=builtin only the second comparison is left.

const { inspect, types } = require('node:util')

const test = require('ava')

const { assemble, builtin } = require('./engine.js')

const v8 = Number.parseInt(process.versions.v8, 10)

const onBuiltin = process.env.ENGINE === 'builtin'

/** The namespace that install() puts in place. */
function installed() {
  require('../../index.js').install()
  return globalThis.WebAssembly
}

const engine = onBuiltin ? builtin : installed()

const INTERFACES = ['Module', 'Instance', 'Memory', 'Table', 'Global', 'Tag', 'Exception']
const ERRORS = ['CompileError', 'LinkError', 'RuntimeError']

/** In `expected`: an exception of this class. */
class Throws {
  constructor(name) {
    this.name = name
  }
}
const throws = (name) => new Throws(name)

/** What a closure caught; `describe` knows it from a value that was returned. */
class Caught {
  constructor(error) {
    this.error = error
  }
}

const { apply, getPrototypeOf, ownKeys } = Reflect
const byteLength = Object.getOwnPropertyDescriptor(ArrayBuffer.prototype, 'byteLength').get

const NATIVE = [Error, TypeError, RangeError, EvalError, SyntaxError, ReferenceError]

/** Node's own errors have a class between theirs and the native one, with a code; ours have the native one and a code. */
const isNodes = (prototype) => Object.getOwnPropertySymbols(prototype).some(({ description }) => description === 'kIsNodeError')

function describeError(error, W) {
  const prototype = isNodes(getPrototypeOf(error)) ? getPrototypeOf(getPrototypeOf(error)) : getPrototypeOf(error)
  const name = ERRORS.find((candidate) => prototype === W[candidate].prototype)
  const known = name ?? NATIVE.find((candidate) => prototype === candidate.prototype)?.name ?? `${error.name} of elsewhere`
  const extra = ownKeys(error).filter((key) => key !== 'stack' && key !== 'message' && !isOurCode(error, key))
  const members = extra.map((key) => ` {${String(key)}: ${inspect(error[key])}}`).join('')
  return `[${known}] ${error.message}${members}`
}

/** A documented extra, which is met by nobody who does not ask for it. */
const isOurCode = (error, key) => {
  const { value, enumerable } = Object.getOwnPropertyDescriptor(error, key)
  return key === 'code' && !enumerable && String(value).startsWith('ERR_WASM_')
}

function describeBuffer(value) {
  if (types.isSharedArrayBuffer(value)) return `SharedArrayBuffer(${value.byteLength})${value.growable ? ' growable' : ''}`
  return `ArrayBuffer(${apply(byteLength, value, [])})${value.resizable ? ' resizable' : ''}${value.detached ? ' detached' : ''}`
}

function describeObject(value, W) {
  const prototype = getPrototypeOf(value)
  const name = INTERFACES.find((candidate) => prototype === W[candidate].prototype)
  if (name !== undefined) return `#<${name}>`
  if (types.isPromise(value)) return '#<Promise>'
  const entries = ownKeys(value).map((key) => [String(key), describe(value[key], W)])
  return Object.fromEntries(prototype === null ? [['[null prototype]', true], ...entries] : entries)
}

/** A value in words that are the same for equal values of different engines. */
function describe(value, W) {
  if (value instanceof Throws) return `throws [${value.name}]`
  if (value instanceof Caught) return `throws ${describe(value.error, W)}`
  if (typeof value === 'function') {
    const name = [...INTERFACES, ...ERRORS].find((candidate) => value === W[candidate])
    return name === undefined ? `function ${value.name}/${value.length}` : `WebAssembly.${name}`
  }
  if (typeof value !== 'object' || value === null) return inspect(value)
  if (types.isProxy(value)) return '#<Proxy>'
  if (types.isNativeError(value)) return describeError(value, W)
  if (types.isAnyArrayBuffer(value)) return describeBuffer(value)
  if (ArrayBuffer.isView(value)) return inspect(value)
  if (Array.isArray(value)) return value.map((element) => describe(element, W))
  return describeObject(value, W)
}

/** A description without the messages, which the specification leaves to the engine. */
function withoutMessages(description) {
  if (typeof description === 'string') return description.replace(/^((?:throws )?\[\w*Error\]).*$/s, '$1')
  if (Array.isArray(description)) return description.map(withoutMessages)
  if (typeof description !== 'object') return description
  return Object.fromEntries(Object.entries(description).map(([key, value]) => [key, withoutMessages(value)]))
}

/** What `run` returns, or a Caught. */
function outcomeOf(run, ...args) {
  try {
    return run(...args)
  } catch (error) {
    return new Caught(error)
  }
}

async function outcomeOfPromise(run, ...args) {
  try {
    return await run(...args)
  } catch (error) {
    return new Caught(error)
  }
}

/** What the closures of checks work with, for one engine. `mistakes` gets what is wrong with the texts of modules. */
const toolsFor = (W, mistakes) => {
  const bytesOf = (wat) => {
    try {
      return assemble(wat)
    } catch (error) {
      mistakes.push(error.message)
      throw error
    }
  }
  return { ...tools(W, bytesOf), ...outcomes }
}

const tools = (W, assemble) => ({
  assemble,
  module: (wat) => new W.Module(assemble(wat)),
  /** The exports of an instance of a module's text. */
  link: (wat, imports) => new W.Instance(new W.Module(assemble(wat)), imports).exports,
})

const outcomes = {
  /** The outcome of `run` for every value. */
  each: (values, run) => values.map((value) => outcomeOf(run, value)),
  /** The outcome of every closure, by name. */
  all: (runs) => Object.fromEntries(Object.entries(runs).map(([name, run]) => [name, outcomeOf(run)])),
  /** The same where the closures return promises; one after the other. */
  async allAsync(runs) {
    const found = {}
    for (const [name, run] of Object.entries(runs)) found[name] = await outcomeOfPromise(run)
    return found
  },
}

/**
 * @param {string} title begins with the algorithm, and its fragment in brackets
 * @param {(W: object, tools: ReturnType<typeof toolsFor>) => unknown} run
 * @param {unknown} [expected] by the specification
 * @param {{messages?: boolean, deviates?: boolean}} [options] both for what docs/conformance.md lists: `messages: false`,
 *   the classes are equal and the words are not; `deviates`, this Node's own engine departs from the specification, and we
 *   do not
 */
function check(title, run, ...[expected, { messages = true, deviates = false } = {}]) {
  const specified = arguments.length > 2 && expected !== undefined
  // Serial: some checks put getters on the realm's intrinsics.
  test.serial(title, async (t) => {
    const mistakes = []
    const observe = async (W) => {
      const outcome = await outcomeOfPromise(run, W, toolsFor(W, mistakes))
      // Of an exception that ends the closure both engines might be innocent.
      if (outcome instanceof Caught) throw outcome.error
      return describe(outcome, W)
    }
    const observed = await observe(engine)
    // Both engines would agree about a text that is none.
    t.deepEqual(mistakes, [])
    if (specified) {
      const wanted = withoutMessages(describe(expected, engine))
      if (deviates && onBuiltin) {
        t.notDeepEqual(withoutMessages(observed), wanted, 'the built-in engine follows the specification after all')
      } else t.deepEqual(withoutMessages(observed), wanted, 'the specification')
    }
    if (!onBuiltin && !deviates) {
      const theirs = await observe(builtin)
      if (messages) t.deepEqual(observed, theirs, 'the built-in engine')
      else t.deepEqual(withoutMessages(observed), withoutMessages(theirs), 'the built-in engine')
    } else if (!specified) t.pass()
  })
}

module.exports = { INTERFACES, check, engine, onBuiltin, throws, v8 }
