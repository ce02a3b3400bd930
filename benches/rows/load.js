'use strict'

const { statSync } = require('node:fs')
const path = require('node:path')
const modules = require('../modules.js')

const program = path.join(__dirname, '../programs/load.js')

/**
 * Module load alone, from bytes in memory and from a file: URL. The built-in has no file: URLs; there
 * it is given the bytes, and their reading is not counted.
 */
module.exports = ['sqljs', 'pglite', 'esbuild', 'swc', 'ffmpeg'].flatMap((name) =>
  ['bytes', 'url'].map((from) => ({
    name: `load-${name}-${from}`,
    get title() {
      return `load ${name}, ${(statSync(modules[name]()).size / 1e6).toFixed(1)} MB, from ${from === 'url' ? 'a file' : 'bytes'}`
    },
    how:
      'From the call to the resolved promise, in a fresh process. "From bytes": `compile`, the bytes are in memory. "From a file": ' +
      '`compileStreaming` of a `file:` URL; the built-in engine has no such URLs, gets the bytes, and their reading is not counted.',
    modules: () => [modules[name]()],
    args: () => [program, modules[name](), from],
    read: (output) => output.ms,
  }))
)
