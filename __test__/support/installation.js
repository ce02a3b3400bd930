'use strict'
// The package as a user gets it: both tarballs, packed and installed from files, so that nothing is compiled.

const fs = require('node:fs')
const path = require('node:path')
const { addonPath, platformName } = require('../../scripts/build.js')
const { stage } = require('../../scripts/release.js')
const { npm, run } = require('../../scripts/run.js')

async function succeed(title, [command, args], options) {
  const { ok, output, stdout, why } = await run(title, command, args, { log() {}, ...options })
  if (!ok) throw new Error(`${title}: ${why}\n${output}`)
  return stdout
}

async function pack(directory, into) {
  const stdout = await succeed('npm pack', npm(['pack', '--json', '--ignore-scripts', '--pack-destination', into]), {
    cwd: directory,
  })
  return path.join(into, JSON.parse(stdout)[0].filename)
}

const underTest = () => process.env.NAPI_RS_NATIVE_LIBRARY_PATH ?? addonPath()

/** An addon, and those for V8's code. */
function beside(addon) {
  const folder = path.dirname(addon)
  const isNative = (file) => file.endsWith(path.basename(addon).replace(/^[^.]*/, ''))
  return fs
    .readdirSync(folder)
    .filter(isNative)
    .map((file) => path.join(folder, file))
}

/** The platform's package. */
const PLATFORM = `wasm-compile-cache-${platformName()}`

/**
 * The tarballs that a release has, which names the platform's package in the main one; the other platforms' are left out.
 *
 * @returns {Promise<{main: string, platform: string}>}
 */
async function release(into, { addon = underTest(), isPermissive = false } = {}) {
  const name = platformName()
  const { main, platforms } = await stage(into, { addons: beside(addon), platforms: [name], isPermissive })
  return { main: await pack(main, into), platform: await pack(platforms[name], into) }
}

/**
 * `npm install` of the tarballs, and of what the project in `directory` itself asks for.
 *
 * @param {string} directory
 * @param {string} folder where the tarballs are made
 * @param {object} env
 */
async function install(directory, folder, env) {
  const { main, platform } = await release(folder)
  // The registry is asked only for what npm's cache does not hold.
  const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', main, platform]
  await succeed('npm install', npm(args), { cwd: directory, env })
}

module.exports = { PLATFORM, install, pack, release, succeed }
