'use strict'

// The settings of the cache in the environment, checked and put into the form that the native side takes.

const path = require('node:path')

const { cacheAccess, mayFetch, mayHandOff } = require('../process/permission.js')
const { parseSize } = require('./quantities.js')
const started = require('../process/started.js')

// The native side's value for a limit that is not set.
const NO_LIMIT = -1

const READ_WRITE = 2

const {
  WASM_COMPILE_CACHE,
  WASM_COMPILE_CACHE_CPU,
  WASM_COMPILE_CACHE_ENGINE,
  WASM_COMPILE_CACHE_MAX_ENTRY_SIZE,
  WASM_COMPILE_CACHE_MAX_SIZE,
  WASM_COMPILE_CACHE_ONLY,
  WASM_DISABLE_COMPILE_CACHE,
} = started.environment

/** What the user's cache folder is made of. */
const HOMES = ['HOME', 'XDG_CACHE_HOME']

/** Bytes; NO_LIMIT where nothing is set. What is no size is a warning: without a limit the disk could fill. */
function sizeOf(variable, text) {
  if (!text) return NO_LIMIT
  const size = parseSize(text)
  if (size !== undefined) return size
  process.emitWarning(`${variable} is not a size like 500M or 2G: ${text}. It is ignored`, { code: 'ERR_WASM_CACHE_SIZE' })
  return NO_LIMIT
}

const only = WASM_COMPILE_CACHE_ONLY === '1'

const environment = {
  /** Where a program is given our namespace. Whoever wants nothing to be compiled wants what can say so. */
  engine: ['ours', 'builtin'].includes(WASM_COMPILE_CACHE_ENGINE) ? WASM_COMPILE_CACHE_ENGINE : only ? 'ours' : 'auto',
  /** Absolute, because the program may change its folder; null: the user's cache folder. */
  directory: WASM_COMPILE_CACHE ? (started.directory ?? path.resolve(WASM_COMPILE_CACHE)) : null,
  enabled: WASM_DISABLE_COMPILE_CACHE !== '1',
  maxSize: sizeOf('WASM_COMPILE_CACHE_MAX_SIZE', WASM_COMPILE_CACHE_MAX_SIZE),
  maxEntrySize: sizeOf('WASM_COMPILE_CACHE_MAX_ENTRY_SIZE', WASM_COMPILE_CACHE_MAX_ENTRY_SIZE),
  /** Nothing that the cache could hold is compiled. */
  only,
}

/**
 * Passes the settings of the environment to the native side. The process' first call counts, unless enable() of
 * ./cache.js changes them before the cache is used.
 */
function configure(native) {
  const { directory, enabled, maxSize, maxEntrySize, only } = environment
  const remote = remoteOf(started.environment)
  if (remote !== undefined && !WASM_COMPILE_CACHE_CPU) native.compileForLevel()
  const refused = WASM_COMPILE_CACHE_CPU ? native.compileFor(WASM_COMPILE_CACHE_CPU) : undefined
  if (refused !== undefined) {
    const text = `WASM_COMPILE_CACHE_CPU is not what code can be made for: ${refused}. It is made for this machine`
    process.emitWarning(text, { code: 'ERR_WASM_CPU' })
  }
  asStarted(() => {
    const access = cacheAccess(native.locateCache(directory))
    native.configure({ directory, access, maxSize, maxEntrySize, only, disabled: !enabled })
    if (remote !== undefined && enabled && access === READ_WRITE) useRemote(native, remote, native.locateCache(directory))
  })
}

/** The cache that machines share, as the environment names it. What is wrong with it is a warning. */
function remoteOf(environment) {
  if (!environment.WASM_COMPILE_CACHE_REMOTE) return undefined
  try {
    return require('../remote/settings.js').settingsOf(environment)
  } catch ({ message, code }) {
    process.emitWarning(`${message}. It is not used`, { code: code ?? 'ERR_WASM_REMOTE' })
    return undefined
  }
}

function useRemote(native, settings, root) {
  if (mayHandOff() && mayFetch()) require('../remote/start.js').use(native, settings, root)
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

module.exports = { NO_LIMIT, configure, environment, useRemote }
