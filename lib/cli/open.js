'use strict'

const fs = require('node:fs')

const { Failure } = require('./failure.js')

const CODES = { failed: 'ERR_WASM_CACHE_FAILED', disabled: 'ERR_WASM_CACHE_DISABLED' }

/**
 * Whether the cache's directory can be written to; undefined if there is none. enable() does not say: a cache that
 * cannot be written is used for what is in it.
 */
function isWritable(directory) {
  const { native } = require('../process/native.js')
  const { environment } = require('../cache/environment.js')
  const root = native.locateCache(directory ?? environment.directory)
  if (root === null || !fs.existsSync(root)) return undefined
  try {
    fs.accessSync(root, fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}

/**
 * The cache that a command is about, or a failure that says why there is none. For a command that only looks (`read-only`)
 * no cache is made, and one that can only be read will do.
 */
function open({ directory }, { mode = 'read-write' } = {}) {
  const { cache } = require('../../index.js')
  const changes = mode === 'read-write'
  const writable = isWritable(directory)
  // Read-only, there is nothing to see where this version of the package has stored nothing yet.
  const { status, message } = cache.enable({ directory, mode: writable ? 'read-write' : mode })
  if (Object.hasOwn(CODES, status)) throw new Failure(message, CODES[status])
  if (changes && (status === 'read-only' || writable === false)) {
    throw new Failure(`${cache.directory} can only be read`, 'ERR_WASM_CACHE_READ_ONLY')
  }
  return cache
}

module.exports = { isWritable, open }
