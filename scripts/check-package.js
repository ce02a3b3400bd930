'use strict'

// Looks into the tarballs before anybody else does: what `npm pack` would put in, by name.
//
//   node scripts/check-package.js             the package itself, and the platform packages' manifests
//   node scripts/check-package.js --release   also that every platform package holds its addon, and is pinned exactly

const fs = require('node:fs')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { BUNDLES } = require('./bundle.js')
const { npm } = require('./run.js')

const ROOT = path.join(__dirname, '..')
const PLATFORMS = [
  'linux-x64-gnu',
  'linux-x64-musl',
  'linux-arm64-gnu',
  'linux-arm64-musl',
  'darwin-x64',
  'darwin-arm64',
  'win32-x64-msvc',
]
/** Binary interfaces of the Nodes that are supported, each of which has an addon of its own for V8's code. */
const ABIS = [115, 127, 137, 147]
const LICENCES = ['LICENSE-MIT', 'LICENSE-APACHE', 'LICENSE-SINGLEPASS']
const MEBIBYTE = 1 << 20

const problems = []
const expect = (holds, problem) => {
  if (!holds) problems.push(problem)
}

const manifest = (directory) => JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'))

/** The names of the files that would be packed, and the tarball's size. */
function packed(directory) {
  const [command, args] = npm(['pack', '--dry-run', '--json', '--ignore-scripts'])
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: directory, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm pack failed in ${directory}:\n${stderr}`)
  const [tarball] = JSON.parse(stdout)
  return { names: tarball.files.map((file) => file.path), size: tarball.size }
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

function checkMain(release) {
  const { names, size } = packed(ROOT)
  const allowed = [
    'package.json',
    'README.md',
    'CHANGELOG.md',
    'SECURITY.md',
    'THIRD-PARTY.md',
    ...LICENCES,
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
  for (const name of allowed) expect(names.includes(name), `wasm-compile-cache: ${name} is missing`)
  for (const name of names) expect(allowed.includes(name), `wasm-compile-cache: ${name} does not belong into the tarball`)
  expect(size < MEBIBYTE, `wasm-compile-cache: the tarball has ${size} bytes`)
  const { optionalDependencies = {}, dependencies, version } = manifest(ROOT)
  const installed = Object.keys(dependencies).join(' ')
  expect(installed === DEPENDENCIES.join(' '), `wasm-compile-cache: its dependencies are ${installed}`)
  if (!release) return
  for (const platform of PLATFORMS) {
    const pinned = optionalDependencies[`wasm-compile-cache-${platform}`]
    expect(pinned === version, `wasm-compile-cache: ${platform} is pinned to ${pinned}, not to ${version}`)
  }
}

function checkPlatform(platform, release) {
  const name = `wasm-compile-cache-${platform}`
  const directory = path.join(ROOT, 'npm', platform)
  const found = manifest(directory)
  const [os, cpu, abi] = platform.split('-')
  const libc = os === 'linux' ? [abi === 'gnu' ? 'glibc' : 'musl'] : undefined
  const wanted = { name, version: manifest(ROOT).version, os: [os], cpu: [cpu], libc, main: `wasm-compile-cache.${platform}.node` }
  for (const [key, value] of Object.entries(wanted)) {
    expect(JSON.stringify(found[key]) === JSON.stringify(value), `${name}: "${key}" is ${JSON.stringify(found[key])}`)
  }
  if (!release) return
  const { names } = packed(directory)
  // The release builds them where they can be run.
  const shims = platform === 'linux-x64-gnu' ? ABIS.map((number) => wanted.main.replace('.', `.v8-${number}.`)) : []
  const allowed = ['package.json', 'README.md', wanted.main, ...shims, ...LICENCES]
  for (const file of allowed) expect(names.includes(file), `${name}: ${file} is missing`)
  for (const file of names) expect(allowed.includes(file), `${name}: ${file} does not belong into the tarball`)
}

const release = process.argv.includes('--release')
checkMain(release)
expect(fs.readdirSync(path.join(ROOT, 'npm')).sort().join() === [...PLATFORMS].sort().join(), 'npm/: not the seven platforms')
for (const platform of PLATFORMS) checkPlatform(platform, release)

for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
else console.log('The tarballs hold what they should.')
