'use strict'
// Removal of directories in which threads or processes may still be writing: nobody waits for a thread that stores an
// artifact while its process ends. `maxRetries` of fs.rmSync is of no use against that: up to Node 22 it tries the
// directory again, and leaves what has come into it where it is.

const fs = require('node:fs')

/** Removes a directory with what is in it, however often something comes into it meanwhile. */
exports.remove = (directory) => {
  for (let left = 100; ; left--) {
    try {
      return fs.rmSync(directory, { recursive: true, force: true })
    } catch (error) {
      if (left === 0 || !['ENOTEMPTY', 'EBUSY', 'ENOENT'].includes(error.code)) throw error
    }
  }
}
