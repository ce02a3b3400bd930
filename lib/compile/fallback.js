'use strict'

// The built-in engine as the last resort: it compiles what this one cannot, and words the error where neither can.

const choice = require('./choice.js')
const events = require('../events/events.js')
const { state: front } = require('../front/state.js')
const { native, builtin, classes } = require('../process/native.js')

function unsupported(feature, reason) {
  const error = new classes.CompileError(`${reason}; the built-in engine is used with { fallback: 'builtin' }`)
  const hidden = (value) => ({ value, writable: true, configurable: true })
  return Object.defineProperties(error, { code: hidden('ERR_WASM_UNSUPPORTED'), feature: hidden(feature) })
}

const mayFallBack = ({ native: { fallback } }) => fallback

/** Whether no engine may compile the bytes (WASM_COMPILE_CACHE_ONLY=1): native finds them in the cache, or refuses. */
const mustBeCached = (bytes, { native: { minSize } }) => native.mustBeCached(bytes.byteLength, minSize)

// Imports that the built-in engine resolves itself (JS API, "builtins"). It alone knows which those are: where one is
// among them, Module.imports leaves it out.
function usesStringBuiltins(bytes, standard) {
  try {
    const all = builtin.Module.imports(new builtin.Module(bytes))
    return builtin.Module.imports(new builtin.Module(bytes, standard)).length < all.length
  } catch {
    return false
  }
}

/** Whether {@link refusalOf} has to see a module before it is compiled. */
const wantsAllBytes = (options) =>
  options.engine !== 'ours' || options.standard !== undefined || (mayFallBack(options) && !native.hostGuardsMemories())

/**
 * Why this engine need not even try; undefined where it should.
 *
 * @param {Uint8Array} bytes
 * @param {object} options as ./options.js reads them
 */
function refusalOf(bytes, options) {
  if (mustBeCached(bytes, options)) return undefined
  if (options.standard !== undefined && usesStringBuiltins(bytes, options.standard)) {
    return unsupported('js-string-builtins', 'Imports of JS string builtins are not supported')
  }
  // Without guard regions no code of ours may touch a memory; with { fallback: 'error' } linking says so.
  if (mayFallBack(options) && !native.hostGuardsMemories()) {
    return unsupported('unguarded-memories', 'No guard regions can be seen behind the memories of this process')
  }
  return undefined
}

const NAMED = /^WebAssembly\.\w+\(\): /

/** V8's error, as the function that was called would have thrown it. */
function inTheNameOf(where, theirs) {
  if (!(theirs instanceof classes.CompileError)) return theirs
  return new classes.CompileError(theirs.message.replace(NAMED, () => `${where}: `))
}

/** V8's error where it refuses the bytes as well, in the name of the function that was called; else ours. */
function final(error, theirs, where) {
  if (!(theirs instanceof classes.CompileError)) return error
  const own = inTheNameOf(where, theirs)
  return Object.defineProperty(own, 'code', Object.getOwnPropertyDescriptor(error, 'code'))
}

const NOT_CACHED = 'ERR_WASM_NOT_CACHED'

const REASONS = {
  ERR_WASM_NOT_CACHED: ({ cachedOnly }) => cachedOnly,
  ERR_WASM_UNSUPPORTED: ({ fallback }) => fallback,
  ERR_WASM_INVALID_MODULE: () => true,
}

/** Whether the built-in engine is to be asked about what this one refused. */
const asks = ({ code }, bytes, options) => (REASONS[code]?.(options.native) ?? false) && !mustBeCached(bytes, options)

/**
 * What the built-in engine makes of bytes that it is the better one for.
 *
 * @param {Uint8Array} bytes
 * @param {object} options as ./options.js reads them
 * @param {string} where the function that was called
 * @returns {{module: object}}
 */
function compileThere(bytes, options, where) {
  try {
    return choice.keep(choice.revived(bytes, options) ?? new builtin.Module(bytes, options.standard), bytes, options)
  } catch (theirs) {
    throw inTheNameOf(where, theirs)
  }
}

/** The same in the background. */
async function compileThereLater(bytes, options, where) {
  const copy = bytes.slice()
  try {
    return choice.keep(choice.revived(copy, options) ?? (await builtin.compile(copy, options.standard)), copy, options)
  } catch (theirs) {
    throw inTheNameOf(where, theirs)
  }
}

function tell({ feature = 'unknown', offset }, bytes, source) {
  events.emit({ name: 'fallback', dur: 0, source, bytes: bytes.byteLength, feature, offset })
}

/**
 * Whether the module is one by which a program tries what it may use beside an instance of ours, whose table it is to have,
 * because there is no other (pyodide's trampoline, which tests types of garbage collection). No instance of the built-in engine
 * could import that. The program expects to be told when it compiles.
 */
const joins = (module, bytes) =>
  front.hasTables &&
  !front.hasOtherTables &&
  bytes.byteLength < choice.SMALL &&
  builtin.Module.imports(module).some(({ kind }) => kind === 'table')

/** The built-in engine took it. */
function taken(module, error, bytes, options) {
  if (error.code === NOT_CACHED) {
    choice.missed(new Uint8Array(bytes), options)
    return choice.keep(module, new Uint8Array(bytes))
  }
  if (!mayFallBack(options) || joins(module, bytes)) throw error
  tell(error, bytes, options.native.source)
  return { module }
}

/**
 * What the built-in engine makes of bytes that were refused.
 *
 * @param {Error} error the refusal
 * @param {Uint8Array | ArrayBuffer} bytes
 * @param {object} options as ./options.js reads them
 * @param {string} where the function that was called
 * @returns {{module: object}}
 */
function compileNow(error, bytes, options, where) {
  if (!asks(error, bytes, options)) throw error
  let module
  try {
    module = new builtin.Module(bytes, options.standard)
  } catch (theirs) {
    throw final(error, theirs, where)
  }
  return taken(module, error, bytes, options)
}

/** The same in the background; `bytes` is null where they are not all there. */
async function compileLater(error, bytes, options, where) {
  if (bytes === null || !asks(error, bytes, options)) throw error
  let module
  try {
    module = await builtin.compile(bytes, options.standard)
  } catch (theirs) {
    throw final(error, theirs, where)
  }
  return taken(module, error, bytes, options)
}

/** Whether `compile` would accept the bytes. */
function validate(bytes, options) {
  const { standard } = options
  if (mayFallBack(options) && builtin.validate(bytes, standard)) return true
  return native.validate(bytes) && (standard === undefined || !usesStringBuiltins(bytes, standard))
}

module.exports = { compileLater, compileNow, compileThere, compileThereLater, refusalOf, tell, validate, wantsAllBytes }
