'use strict'

// What the environment says of the cache, checked and put into the form the native side takes.

const path = require('node:path')

const { cacheAccess } = require('./permission.js')
const { parseSize } = require('./quantities.js')
const started = require('./started.js')

// As the native side has it for a limit that nobody gave.
const NO_LIMIT = -1

const {
  WASM_COMPILE_CACHE,
  WASM_COMPILE_CACHE_MAX_ENTRY_SIZE,
  WASM_COMPILE_CACHE_MAX_SIZE,
  WASM_COMPILE_CACHE_ONLY,
  WASM_DISABLE_COMPILE_CACHE,
} = started.environment

/** What the user's cache folder is made of. */
const HOMES = ['HOME', 'XDG_CACHE_HOME']

/** Bytes; NO_LIMIT where the user says nothing. What cannot be read is told: a limit that is none would fill the disk. */
function sizeOf(variable, text) {
  if (!text) return NO_LIMIT
  const size = parseSize(text)
  if (size !== undefined) return size
  process.emitWarning(`${variable} is not a size like 500M or 2G: ${text}. It is ignored`, { code: 'ERR_WASM_CACHE_SIZE' })
  return NO_LIMIT
}

const environment = {
  /** Absolute, because the program may change its folder; null: the user's cache folder. */
  directory: WASM_COMPILE_CACHE ? (started.directory ?? path.resolve(WASM_COMPILE_CACHE)) : null,
  enabled: WASM_DISABLE_COMPILE_CACHE !== '1',
  maxSize: sizeOf('WASM_COMPILE_CACHE_MAX_SIZE', WASM_COMPILE_CACHE_MAX_SIZE),
  maxEntrySize: sizeOf('WASM_COMPILE_CACHE_MAX_ENTRY_SIZE', WASM_COMPILE_CACHE_MAX_ENTRY_SIZE),
  /** Nothing that the cache could hold is compiled. */
  only: WASM_COMPILE_CACHE_ONLY === '1',
}

/**
 * Tells the native side what the environment says of the cache. The process' first call counts, until enable() of
 * ./cache.js, before the cache is used, says otherwise.
 */
function configure(native) {
  const { directory, enabled, maxSize, maxEntrySize, only } = environment
  asStarted(() => {
    const access = cacheAccess(native.locateCache(directory))
    native.configure({ directory, access, maxSize, maxEntrySize, only, disabled: !enabled })
  })
}

/** Native looks for the user's cache folder in the environment of this moment, from which a program may have removed it. */
function asStarted(action) {
  const taken = HOMES.filter((name) => process.env[name] === undefined && started.environment[name] !== undefined)
  for (const name of taken) process.env[name] = started.environment[name]
  try {
    action()
  } finally {
    for (const name of taken) delete process.env[name]
  }
}

module.exports = { NO_LIMIT, configure, environment }
