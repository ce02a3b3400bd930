'use strict'
// The package as a user gets it: both tarballs, packed and installed from files, so that nothing is compiled.

const fs = require('node:fs')
const path = require('node:path')
const { addonPath, platformName } = require('../../scripts/build.js')
const { change } = require('../../scripts/permissive.js')
const { npm, run } = require('../../scripts/run.js')

const { version } = require('../../package.json')

const ROOT = path.join(__dirname, '../..')
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE', 'LICENSE-SINGLEPASS']

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

/**
 * The platform's package, put together as a release does: its folder, the addon (by default that under test) with those for V8's code,
 * licences; then `change`d.
 */
async function packPlatform(folder, { addon = process.env.NAPI_RS_NATIVE_LIBRARY_PATH ?? addonPath(), change = () => {} } = {}) {
  const name = platformName()
  const staged = path.join(folder, name)
  fs.cpSync(path.join(ROOT, 'npm', name), staged, { recursive: true })
  const isNative = (file) => file.endsWith(path.basename(addon).replace(/^[^.]*/, ''))
  for (const file of fs.readdirSync(path.dirname(addon)).filter(isNative)) {
    fs.copyFileSync(path.join(path.dirname(addon), file), path.join(staged, file))
  }
  for (const licence of LICENCES) fs.copyFileSync(path.join(ROOT, licence), path.join(staged, licence))
  change(staged)
  return pack(staged, folder)
}

/** The platform's package. */
const PLATFORM = `wasm-compile-cache-${platformName()}`

/**
 * The tarballs that a release has, which names the platform's package in the main one; the other platforms' are left out.
 *
 * @returns {Promise<{main: string, platform: string}>}
 */
async function release(into, { addon, isPermissive = false } = {}) {
  const main = await pack(ROOT, into)
  await succeed('tar', ['tar', ['-xzf', main, '-C', into]])
  const unpacked = path.join(into, 'package')
  const manifest = path.join(unpacked, 'package.json')
  const published = { ...JSON.parse(fs.readFileSync(manifest)), optionalDependencies: { [PLATFORM]: version } }
  fs.writeFileSync(manifest, JSON.stringify(published))
  if (isPermissive) change(unpacked)
  return { main: await pack(unpacked, into), platform: await packPlatform(into, { addon, ...(isPermissive ? { change } : {}) }) }
}

/**
 * `npm install` of the tarballs, and of what the project in `directory` itself asks for.
 *
 * @param {string} directory
 * @param {string} folder where the tarballs are made
 * @param {object} env
 */
async function install(directory, folder, env) {
  const tarballs = [await pack(ROOT, folder), await packPlatform(folder)]
  // The registry is asked only for what npm's cache does not hold.
  const args = ['install', '--prefer-offline', '--no-audit', '--no-fund', ...tarballs]
  await succeed('npm install', npm(args), { cwd: directory, env })
}

module.exports = { PLATFORM, install, pack, packPlatform, release, succeed }
