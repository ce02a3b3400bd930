'use strict'

// After three failures in a row, of whichever processes of this user, the remote cache is left alone for a minute. A file in
// the cache counts them.

const fs = require('node:fs')
const path = require('node:path')

const FAILURES = 3
const MINUTE = 60_000

class Away {
  /** Undefined where there is no cache. */
  file

  /** @param {string | null} root the cache's directory */
  constructor(root) {
    this.file = root === null ? undefined : path.join(root, 'remote.json')
  }

  #read() {
    try {
      const { failures, at } = JSON.parse(fs.readFileSync(this.file, 'utf8'))
      const age = Date.now() - at
      // A clock that was set back must not keep it away.
      return Number.isSafeInteger(failures) && age >= 0 && age < MINUTE ? failures : 0
    } catch {
      return 0
    }
  }

  isAway = () => this.file !== undefined && this.#read() >= FAILURES

  /** Whether it is left alone from now on. */
  failed() {
    if (this.file === undefined) return false
    const failures = this.#read() + 1
    const temporary = `${this.file}.${process.pid}.tmp`
    try {
      fs.writeFileSync(temporary, JSON.stringify({ failures, at: Date.now() }), { mode: 0o600 })
      fs.renameSync(temporary, this.file)
    } catch {
      return false
    }
    return failures === FAILURES
  }

  succeeded() {
    if (this.file !== undefined) fs.rmSync(this.file, { force: true })
  }
}

module.exports = { Away }
