'use strict'

// npm run check: what a contributor runs before every commit. Format, lints, types, clippy, and the store's tests; nothing
// of it compiles wasmer, but for clippy, once.

const path = require('node:path')
const prepare = require('./prepare.js')

const { ROOT, TARGET } = prepare
const FUZZ = path.join(ROOT, 'fuzz', 'Cargo.toml')
const SPEC_SCRIPTS = path.join(ROOT, '__test__', 'spec', 'scripts', 'Cargo.toml')
const DIFFERENCE_MODULES = path.join(ROOT, '__test__', 'difference', 'modules', 'Cargo.toml')

/** Cargo would put what it makes of a package of its own beside its manifest. */
const together = { env: { CARGO_TARGET_DIR: TARGET } }

const installed = (name, ...file) => path.join(ROOT, 'node_modules', name, ...file)
const node = (script, ...args) => [process.execPath, [script, ...args]]

/** Every warning is an error; the lock file decides the versions. */
const clippy = (...args) => ['cargo', ['clippy', '--locked', '--all-targets', ...args, '--', '-D', 'warnings']]
const format = (...args) => ['cargo', ['fmt', '--check', ...args]]

/** Two lanes, one for each core that a small machine has. */
async function checks(suite, nextest) {
  const javascript = async () => {
    await suite.check('prettier', node(installed('prettier', 'bin', 'prettier.cjs'), '--check', '--log-level', 'warn', '.'))
    await suite.check('eslint', node(installed('eslint', 'bin', 'eslint.js'), '.', '--max-warnings', '0'))
    await suite.check('circles of files', node(path.join(__dirname, 'circles.js')))
    await suite.check('types', node(path.join(__dirname, 'types.js')))
    await suite.check('licences', node(path.join(__dirname, 'licences.js'), '--check'))
    await apart()
  }
  // Packages of their own are compiled in folders of their own: cargo compiles them beside the workspace.
  const apart = async () => {
    await suite.check('clippy of the spec scripts', clippy('--release', '--manifest-path', SPEC_SCRIPTS), together)
    await suite.check(
      'clippy of the generated modules',
      clippy('--release', '--all-features', '--manifest-path', DIFFERENCE_MODULES),
      together
    )
    await suite.check('clippy of the fuzz targets', clippy('--release', '--manifest-path', FUZZ), {
      env: { RUSTFLAGS: '--cfg fuzzing' },
    })
  }
  const rust = async () => {
    await suite.check('cargo fmt', format('--all'))
    await suite.check('cargo fmt of the spec scripts', format('--manifest-path', SPEC_SCRIPTS))
    await suite.check('cargo fmt of the generated modules', format('--manifest-path', DIFFERENCE_MODULES))
    await suite.check('clippy', clippy('--workspace', '--profile', 'checks'))
    await suite.check('clippy without Singlepass', clippy('--workspace', '--profile', 'checks', '--no-default-features'))
    await suite.nextest("the store's tests", nextest, ['--cargo-profile', 'checks', '--package', 'wasm-compile-cache-store'])
  }
  await Promise.all([javascript(), rust()])
}

module.exports = { checks }

if (require.main === module) prepare.suite(20, checks)
