'use strict'

// The user's options, checked and put into the form the native side takes.

const { environment } = require('../cache/environment.js')
const { installed } = require('../process/realm.js')
const { isObject } = require('../api/dictionary.js')
const { textOf } = require('../code/standard.js')

const CACHE = new Map([
  [false, 0],
  ['read-only', 1],
  [true, 2],
])

const DEFAULTS = { partition: '', cache: true, minSize: 131072, baseline: 'auto', optimize: true, finish: true }

// WebAssemblyCompileOptions of the JS API. They are not ours to reject.
const STANDARD = new Set(['builtins', 'importedStringConstants'])

const KNOWN = ['engine', 'partition', 'cache', 'minSize', 'baseline', 'optimize', 'finish', 'fallback', 'signal']

const FALLBACKS = ['builtin', 'error']

const BASELINES = ['auto', 'lazy', 'eager']

const ENGINES = ['auto', 'ours', 'builtin']

// A program that was written for the built-in engine must go on as it did; one that was written for this package wants
// to know.
const defaultFallback = () => (installed.length > 0 ? 'builtin' : 'error')

function argumentError(code, message) {
  return Object.assign(new TypeError(message), { code })
}

const wrongType = (where, name, expected, value) =>
  argumentError(
    'ERR_INVALID_ARG_TYPE',
    `${where}: The option "${name}" must be ${expected}, got ${value === null ? 'null' : typeof value}`
  )

const wrongValue = (where, message) => argumentError('ERR_INVALID_ARG_VALUE', `${where}: ${message}`)

function checkNames(options, where) {
  for (const name of Object.keys(options)) {
    if (KNOWN.includes(name) || STANDARD.has(name)) continue
    throw wrongValue(where, `There is no option "${name}". The options are ${KNOWN.join(', ')}`)
  }
}

// Without what a program may have put on Object.prototype.
const NONE = Object.freeze(Object.create(null))

const isAbortSignal = (value) =>
  typeof value === 'object' && value !== null && 'aborted' in value && typeof value.addEventListener === 'function'

/** Whoever wants to know what ours does not support, or that everything comes from the cache, wants ours. */
const engineFor = ({ fallback }, byDefault) => (fallback === 'error' || environment.only ? 'ours' : byDefault)

/**
 * @param {unknown} options what the caller passed
 * @param {string} where the function that was called, for messages
 * @param {'auto' | 'ours'} byDefault the engine where the caller names none
 * @returns {{native: {partition: string, cache: 0 | 1 | 2, minSize: number, baseline: 0 | 1 | 2, optimize: boolean, finish: boolean, fallback: boolean, cachedOnly: boolean, source: string}, engine: 'auto' | 'ours' | 'builtin', signal?: AbortSignal, standard?: object}}
 *   `standard`: the standard's own options, where there are any
 */
function readOptions(options, where, byDefault = 'ours') {
  // As in V8, which `buffers.map(WebAssembly.compile)` relies on.
  if (!isObject(options)) options = NONE
  // A program that was written for the built-in engine may pass what a later standard has.
  if (installed.length === 0) checkNames(options, where)

  const engine = readEngine(options, where) ?? engineFor(options, byDefault)
  const {
    partition = DEFAULTS.partition,
    cache = DEFAULTS.cache,
    minSize = DEFAULTS.minSize,
    baseline = DEFAULTS.baseline,
    optimize = DEFAULTS.optimize,
    finish = DEFAULTS.finish,
    fallback = defaultFallback(),
    signal,
    builtins,
    importedStringConstants,
  } = options
  if (typeof partition !== 'string') throw wrongType(where, 'partition', 'a string', partition)
  // Partitions are kept as UTF-8, in which two that have lone surrogates could be one.
  if (!partition.isWellFormed()) throw wrongValue(where, 'The option "partition" must not have a lone surrogate')
  if (typeof cache !== 'boolean' && typeof cache !== 'string') {
    throw wrongType(where, 'cache', 'true, false or "read-only"', cache)
  }
  if (!CACHE.has(cache)) throw wrongValue(where, `The option "cache" must be true, false or "read-only", got "${cache}"`)
  if (typeof minSize !== 'number') throw wrongType(where, 'minSize', 'a number of bytes', minSize)
  if (!(minSize >= 0)) throw wrongValue(where, `The option "minSize" must not be negative, got ${minSize}`)
  if (typeof baseline !== 'string') throw wrongType(where, 'baseline', '"auto", "lazy" or "eager"', baseline)
  if (!BASELINES.includes(baseline)) {
    throw wrongValue(where, `The option "baseline" must be "auto", "lazy" or "eager", got "${baseline}"`)
  }
  if (typeof optimize !== 'boolean') throw wrongType(where, 'optimize', 'a boolean', optimize)
  if (typeof finish !== 'boolean') throw wrongType(where, 'finish', 'a boolean', finish)
  if (typeof fallback !== 'string') throw wrongType(where, 'fallback', '"builtin" or "error"', fallback)
  if (!FALLBACKS.includes(fallback)) {
    throw wrongValue(where, `The option "fallback" must be "builtin" or "error", got "${fallback}"`)
  }
  if (signal !== undefined && !isAbortSignal(signal)) throw wrongType(where, 'signal', 'an AbortSignal', signal)

  // Infinity (never cache) has to survive the way through an integer.
  const size = Math.min(Math.ceil(minSize), Number.MAX_SAFE_INTEGER)
  const standard = { builtins, importedStringConstants }
  return {
    native: {
      partition,
      cache: CACHE.get(cache),
      minSize: size,
      baseline: BASELINES.indexOf(baseline),
      optimize,
      finish,
      fallback: fallback === 'builtin',
      cachedOnly: false,
      source: '',
    },
    engine,
    signal,
    standard: textOf(standard) === '' ? undefined : standard,
  }
}

/** The member `engine` of an object of options; undefined where there is none. */
function readEngine(options, where) {
  const engine = isObject(options) ? options.engine : undefined
  if (engine === undefined) return undefined
  if (typeof engine !== 'string') throw wrongType(where, 'engine', '"auto", "ours" or "builtin"', engine)
  if (!ENGINES.includes(engine)) {
    throw wrongValue(where, `The option "engine" must be "auto", "ours" or "builtin", got "${engine}"`)
  }
  return engine
}

module.exports = { argumentError, readEngine, readOptions }
