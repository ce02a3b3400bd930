'use strict'

// Looks into the tarballs before anybody else does: what npm would publish, by name. Of a checkout, the package itself and the
// platform packages' manifests; release.js looks into all of a release.
//
//   node scripts/check-package.js

const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { BUNDLES } = require('./bundle.js')
const { npm } = require('./run.js')

const ROOT = path.join(__dirname, '..')
const PLATFORMS = ['linux-x64-gnu', 'linux-x64-musl', 'linux-arm64-gnu', 'linux-arm64-musl', 'darwin-x64', 'darwin-arm64']
/** Binary interfaces of the Nodes that are supported, each of which has an addon of its own for V8's code. */
const ABIS = [115, 127, 137, 147]
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE', 'LICENSE-SINGLEPASS']
const MEBIBYTE = 1 << 20

const manifest = (directory) => JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'))

/** The names of the files that would be published, the tarball's size, and what npm has to say. */
function packed(directory) {
  const [command, args] = npm(['publish', '--dry-run', '--json', '--ignore-scripts'])
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: directory, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm publish --dry-run failed in ${directory}:\n${stderr}`)
  const told = JSON.parse(stdout)
  const tarball = told.files === undefined ? Object.values(told)[0] : told
  const warnings = stderr.split('\n').filter((line) => /^npm warn publish (?!.*logged in)/.test(line))
  return { names: tarball.files.map((file) => file.path), size: tarball.size, warnings }
}

/** Every file below a folder, as npm spells it. */
const below = (folder) =>
  fs
    .readdirSync(path.join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) =>
      path
        .relative(ROOT, path.join(entry.parentPath ?? entry.path, entry.name))
        .split(path.sep)
        .join('/')
    )

/** What is installed beside it: of the command line and of the cache of resources. A compile loads none of them. */
const DEPENDENCIES = ['cli-progress', 'cli-table3', 'commander', 'http-cache-semantics', 'picocolors', 'tar-stream']

/**
 * What is wrong with a package, in words.
 *
 * @param {string} directory
 * @param {{most: number, allowed: string[]}} expected bytes and files of its tarball
 */
function problemsOf(directory, { most, allowed }) {
  const { name } = manifest(directory)
  const { names, size, warnings } = packed(directory)
  return [
    ...warnings,
    ...allowed.filter((file) => !names.includes(file)).map((file) => `${file} is missing`),
    ...names.filter((file) => !allowed.includes(file)).map((file) => `${file} does not belong into the tarball`),
    ...(size > most ? [`the tarball has ${size} bytes`] : []),
  ].map((problem) => `${name}: ${problem}`)
}

/** The licences of a flavour. */
const licencesOf = (isPermissive) => (isPermissive ? LICENCES.slice(0, 2) : LICENCES)

function problemsOfMain(directory, isPermissive = false) {
  const allowed = [
    'package.json',
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    'THIRD-PARTY.md',
    ...licencesOf(isPermissive),
    'index.js',
    'index.d.ts',
    'register.js',
    'register.d.ts',
    'binding.js',
    ...BUNDLES.map(({ name }) => `dist/${name}`),
    // What a build from source takes.
    'Cargo.toml',
    'Cargo.lock',
    'build.rs',
    'scripts/install.js',
    'scripts/build.js',
    'scripts/run.js',
    'scripts/shim.js',
    ...below('src'),
    ...['store', 'engine'].flatMap((name) => [`crates/${name}/Cargo.toml`, ...below(`crates/${name}/src`)]),
    'crates/engine/build.rs',
  ]
  const installed = Object.keys(manifest(directory).dependencies).join(' ')
  return [
    ...problemsOf(directory, { most: MEBIBYTE, allowed }),
    ...(installed === DEPENDENCIES.join(' ') ? [] : [`wasm-compile-cache: its dependencies are ${installed}`]),
  ]
}

/** What a platform's manifest says that is not so. */
function problemsOfManifest(platform) {
  const name = `wasm-compile-cache-${platform}`
  const found = manifest(path.join(ROOT, 'npm', platform))
  const [os, cpu, abi] = platform.split('-')
  const libc = os === 'linux' ? [abi === 'gnu' ? 'glibc' : 'musl'] : undefined
  const wanted = { name, version: manifest(ROOT).version, os: [os], cpu: [cpu], libc, main: `wasm-compile-cache.${platform}.node` }
  return Object.entries(wanted)
    .filter(([key, value]) => JSON.stringify(found[key]) !== JSON.stringify(value))
    .map(([key]) => `${name}: "${key}" is ${JSON.stringify(found[key])}`)
}

/** @param {string} directory a platform's package as a release has it */
function problemsOfPlatform(directory, platform, isPermissive) {
  const { main } = manifest(directory)
  // Built where they can be run.
  const shims = platform === 'linux-x64-gnu' ? ABIS.map((number) => main.replace('.', `.v8-${number}.`)) : []
  const allowed = ['package.json', 'README.md', main, ...shims, ...licencesOf(isPermissive)]
  return problemsOf(directory, { most: 24 * MEBIBYTE, allowed })
}

module.exports = { LICENCES, PLATFORMS, problemsOfMain, problemsOfPlatform }

if (require.main === module) {
  const folders = fs.readdirSync(path.join(ROOT, 'npm')).sort().join()
  const problems = [
    ...problemsOfMain(ROOT),
    ...(folders === [...PLATFORMS].sort().join() ? [] : [`npm/: not the seven platforms, but ${folders}`]),
    ...PLATFORMS.flatMap(problemsOfManifest),
  ]
  for (const problem of problems) console.error(problem)
  if (problems.length > 0) process.exitCode = 1
  else console.log('The tarballs hold what they should.')
}
