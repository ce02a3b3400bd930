'use strict'

/** What is wrong with an archive, or with the key for it. The message names the file, and where in it. */
class ArchiveError extends Error {
  /**
   * @param {string} code without its beginning, ERR_WASM_ARCHIVE_
   * @param {string} message
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, options) {
    super(message, options)
    this.code = `ERR_WASM_ARCHIVE_${code}`
  }
}

module.exports = { ArchiveError }
