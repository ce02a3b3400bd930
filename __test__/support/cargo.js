'use strict'
// Programs in Rust that only tests need, in packages of their own.

const { execFileSync } = require('node:child_process')
const path = require('node:path')

const ROOT = path.join(__dirname, '../..')

/**
 * Builds a program, if it is not there already.
 *
 * @param {string} manifest of its package, relative to the project's folder
 * @param {string} name
 * @param {string[]} [features]
 * @returns {string} its path
 */
function program(manifest, name, features = []) {
  const args = ['build', '--release', '--locked', '--manifest-path', path.join(ROOT, manifest), '--bin', name]
  const env = { CARGO_TARGET_DIR: path.join(ROOT, 'target'), ...process.env }
  const all = [...args, ...features.flatMap((feature) => ['--features', feature]), '--message-format=json-render-diagnostics']
  const messages = execFileSync('cargo', all, { env, encoding: 'utf8', maxBuffer: Infinity })
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  return messages.find(({ executable }) => typeof executable === 'string').executable
}

module.exports = { program }
