'use strict'

// npm's install script. A prebuilt addon (the platform's package, or a local build) is the normal case, and then there is
// nothing to do. Without one the addon is compiled from source.
//
// WASM_COMPILE_CACHE_BUILD_FLAGS asks for a build from source with these cargo flags, whatever is there already:
//   WASM_COMPILE_CACHE_BUILD_FLAGS=--no-default-features npm rebuild wasm-compile-cache

const { spawnSync } = require('node:child_process')
const path = require('node:path')
const { name } = require('../package.json')
const { build, platformName } = require('./build.js')
const { seconds } = require('./run.js')

/** Loads the addon in a process of its own, so that a broken one cannot take npm's script with it. */
function loadable() {
  const loader = path.join(__dirname, '..', 'binding.js')
  // Whatever NODE_OPTIONS says of addons: it is another process that will load this one.
  return spawnSync(process.execPath, ['--addons', '-e', 'require(process.argv[1])', loader], { stdio: 'ignore' }).status === 0
}

/** What the permissive flavour is built with, wherever there is no prebuilt addon. */
const OF_FLAVOUR = name.endsWith('-permissive') ? ['--no-default-features'] : []

async function main() {
  if (process.platform === 'win32') {
    // The compilers' crates refuse to be compiled for it.
    console.log('wasm-compile-cache: there is no addon for Windows; with register, programs run as without it.')
    return
  }
  const flags = (process.env.WASM_COMPILE_CACHE_BUILD_FLAGS ?? '').split(/\s+/).filter(Boolean)
  if (flags.length === 0 && loadable()) return
  const reason =
    flags.length === 0
      ? `there is no prebuilt addon for ${platformName()}`
      : `WASM_COMPILE_CACHE_BUILD_FLAGS is set (${flags.join(' ')})`
  console.log(`wasm-compile-cache: ${reason}; compiling it from source, which takes some minutes.`)
  const started = Date.now()
  await build({ cargoArgs: [...OF_FLAVOUR, ...flags] })
  console.log(`wasm-compile-cache: compiled in ${seconds(Date.now() - started)}.`)
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
