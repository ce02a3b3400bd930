'use strict'

const fs = require('node:fs')

const { Failure } = require('./failure.js')

const CODES = { failed: 'ERR_WASM_CACHE_FAILED', disabled: 'ERR_WASM_CACHE_DISABLED' }

/** Whether there is a directory that could be written to. */
function isWritable(directory) {
  const { native } = require('../native.js')
  const { environment } = require('../options.js')
  try {
    fs.accessSync(native.locateCache(directory ?? environment.directory) ?? '', fs.constants.W_OK)
    return true
  } catch {
    return false
  }
}

/**
 * The cache that a command is about, or a failure that says why there is none. For a command that only looks (`changes:
 * false`) no cache is made, and one that can only be read will do.
 */
function open({ directory }, { changes = true } = {}) {
  const { cache } = require('../../index.js')
  // Read-only, there is nothing to see where this version of the package has stored nothing yet.
  const mode = changes || isWritable(directory) ? 'read-write' : 'read-only'
  const { status, message } = cache.enable({ directory, mode })
  if (Object.hasOwn(CODES, status)) throw new Failure(message, CODES[status])
  if (status === 'read-only' && changes) throw new Failure(`${cache.directory} can only be read`, 'ERR_WASM_CACHE_READ_ONLY')
  return cache
}

module.exports = { open }
