'use strict'

const { Failure } = require('./failure.js')

module.exports = {
  usage: 'dir',
  summary: 'print where the cache is',
  help: 'The folder need not exist yet. In a Dockerfile, mount or copy it.',

  run(_args, { directory }) {
    const { native } = require('../process/native.js')
    const { environment } = require('../cache/environment.js')
    const found = native.locateCache(directory ?? environment.directory)
    if (found === null) {
      throw new Failure('no cache directory is known for this user: set HOME, or WASM_COMPILE_CACHE', 'ERR_WASM_CACHE_NO_DIRECTORY')
    }
    return { json: { directory: found }, text: found }
  },
}
