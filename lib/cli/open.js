'use strict'

const { Failure } = require('./failure.js')

const CODES = { failed: 'ERR_WASM_CACHE_FAILED', disabled: 'ERR_WASM_CACHE_DISABLED' }

/**
 * The cache that a command is about, or a failure that says why there is none. A command that changes nothing asks for
 * the mode 'read-only'.
 */
function open({ directory }, { mode = 'read-write' } = {}) {
  const { cache } = require('../../index.js')
  const { status, message } = cache.enable({ directory, mode })
  if (Object.hasOwn(CODES, status)) throw new Failure(message, CODES[status])
  if (status === 'read-only' && mode !== status) {
    throw new Failure(message ?? `${cache.directory} can only be read`, 'ERR_WASM_CACHE_READ_ONLY')
  }
  return cache
}

module.exports = { open }
