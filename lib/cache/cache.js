'use strict'

// The cache as an object: where it is, what is in it, and what can be done about it.
//
// Promise: enable() does not throw; the other methods throw, or reject, only for wrong arguments and for errors of the
// system.

const events = require('../events/events.js')
const { NO_LIMIT, environment, useRemote } = require('./environment.js')
const { move } = require('../front/folder.js')
const { native } = require('../process/native.js')
const { argumentError } = require('../compile/options.js')
const { cacheAccess } = require('../process/permission.js')

const READ_ONLY = 1
const ACCESS = { 'read-only': READ_ONLY, 'read-write': 2 }

const ENABLE = 'cache.enable()'
const ENABLE_OPTIONS = ['directory', 'maxSize', 'maxEntrySize', 'mode', 'remote']
const PRUNE = 'cache.prune()'
const PRUNE_OPTIONS = ['maxSize', 'maxAge']

function checkNames(options, known, where) {
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    const message = `${where}: There is no option "${name}". The options are ${known.join(', ')}`
    throw argumentError('ERR_INVALID_ARG_VALUE', message)
  }
}

/** A number of `unit`, or NO_LIMIT. */
function amountOf(options, name, unit, where) {
  const value = options[name]
  if (value === undefined) return NO_LIMIT
  if (typeof value !== 'number') {
    const got = value === null ? 'null' : typeof value
    throw argumentError('ERR_INVALID_ARG_TYPE', `${where}: The option "${name}" must be a number of ${unit}, got ${got}`)
  }
  if (!(value >= 0)) {
    throw argumentError('ERR_INVALID_ARG_VALUE', `${where}: The option "${name}" must not be negative, got ${value}`)
  }
  return Math.min(Math.floor(value), Number.MAX_SAFE_INTEGER)
}

function objectOf(options, where) {
  if (options === undefined) return {}
  if (typeof options === 'object' && options !== null) return options
  throw argumentError(
    'ERR_INVALID_ARG_TYPE',
    `${where}: Argument 0 must be an object, got ${options === null ? 'null' : typeof options}`
  )
}

/** What native takes for where the cache is to be, and what may be done there. */
function configurationOf(given) {
  const options = objectOf(typeof given === 'string' ? { directory: given } : given, ENABLE)
  checkNames(options, ENABLE_OPTIONS, ENABLE)
  const { directory: named, mode = 'read-write' } = options
  // As Node's own modules have paths.
  const directory = typeof named === 'string' ? named.toWellFormed() : named
  if (directory !== undefined && (typeof directory !== 'string' || directory === '')) {
    throw argumentError(
      'ERR_INVALID_ARG_TYPE',
      `${ENABLE}: The option "directory" must be a path, got ${directory === '' ? "''" : typeof directory}`
    )
  }
  if (!Object.hasOwn(ACCESS, mode)) {
    throw argumentError(
      'ERR_INVALID_ARG_VALUE',
      `${ENABLE}: The option "mode" must be "read-write" or "read-only", got ${String(mode)}`
    )
  }
  return {
    directory: directory ?? null,
    access: Math.min(ACCESS[mode], cacheAccess(native.locateCache(directory ?? environment.directory))),
    maxSize: amountOf(options, 'maxSize', 'bytes', ENABLE),
    maxEntrySize: amountOf(options, 'maxEntrySize', 'bytes', ENABLE),
  }
}

/** The cache that machines share, where one is named. */
const remoteOf = (options) =>
  options?.remote === undefined ? undefined : require('../remote/settings.js').readChecked(options.remote)

const DISABLED = 'The cache is disabled: WASM_DISABLE_COMPILE_CACHE=1 is set, or node --permission does not let it be read'

// As long as there is no cache.
const NOTHING_REMOTE = { hits: 0, misses: 0, failures: 0, writes: 0, bytesRead: 0, bytesWritten: 0, time: 0 }
const NOTHING = { hits: 0, misses: {}, writes: 0, writeFailures: 0, evicted: 0, quarantined: 0, bytesWritten: 0 }
const emptyStats = () => ({
  process: { ...NOTHING, misses: {}, remote: { ...NOTHING_REMOTE } },
  total: { ...NOTHING, misses: {}, remote: { ...NOTHING_REMOTE } },
  entries: 0,
  bytes: 0,
  limit: 0,
  quarantined: { files: 0, bytes: 0 },
})

const cache = {
  get directory() {
    return native.cacheStatus().root
  },

  enable(options = undefined) {
    try {
      const configuration = configurationOf(options)
      const remote = remoteOf(options)
      // Before anything is looked up.
      if (remote !== undefined && !process.env.WASM_COMPILE_CACHE_CPU) native.compileForLevel()
      const taken = native.reconfigure(configuration)
      const { status: found, root, message } = native.cacheStatus()
      if (remote !== undefined && found === 'enabled') useRemote(native, remote, root)
      if (taken && root !== null) move(root, found === 'read-only' ? READ_ONLY : ACCESS['read-write'])
      const status = found === 'enabled' && !taken ? 'already-enabled' : found
      if (status === 'disabled') return { status, message: DISABLED }
      return { status, ...(message === undefined ? {} : { message }), ...(root === null ? {} : { directory: root }) }
    } catch ({ message }) {
      return { status: 'failed', message }
    }
  },

  stats() {
    return native.cacheStats() ?? emptyStats()
  },

  entries() {
    return native.cacheEntries()
  },

  verify() {
    return new Promise((resolve, reject) => {
      native.cacheVerify((error, report) => {
        events.drain()
        if (error === null) resolve(report)
        else reject(error)
      })
    })
  },

  prune(options = undefined) {
    const given = objectOf(options, PRUNE)
    checkNames(given, PRUNE_OPTIONS, PRUNE)
    const maxSize = amountOf(given, 'maxSize', 'bytes', PRUNE)
    const maxAge = amountOf(given, 'maxAge', 'milliseconds', PRUNE)
    return native.cachePrune(maxSize, maxAge === NO_LIMIT ? NO_LIMIT : maxAge / 1000)
  },

  clear() {
    return native.cacheClear()
  },

  flush() {
    return new Promise((resolve) => {
      native.cacheFlush(() => {
        events.drain()
        resolve()
      })
    })
  },

  // Loaded on demand: a program that compiles needs no tar.
  export: (file, options) => require('./archive.js').exportArchive(file, options),
  import: (file, options) => require('./archive.js').importArchive(file, options),
}

module.exports = { cache: Object.freeze(cache) }
