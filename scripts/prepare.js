'use strict'

// Brings a fresh clone to where its scripts can run: the packages of the lock files, and an addon that is not older than
// its sources. What is there already costs nothing. Node built-ins alone.

const fs = require('node:fs')
const path = require('node:path')
const bundle = require('./bundle.js')
const { step, npm } = require('./run.js')
const { isFresh, platformName } = require('./build.js')

const ROOT = path.join(__dirname, '..')
const NODES = path.join(ROOT, '__test__', 'nodes')

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

/** The package's JavaScript, and the addon, built in the release profile if it is missing or stale. */
async function addon(log) {
  bundle.build()
  if (isFresh()) return true
  const result = await step(`build of the addon for ${platformName()}`, process.execPath,
    [path.join(__dirname, 'build.js')], { log })
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

module.exports = { packages, nodes, addon, otherNodes, ROOT }

if (require.main === module) {
  (async () => {
    if (!(await packages()) || !(await addon())) process.exitCode = 1
  })()
}
