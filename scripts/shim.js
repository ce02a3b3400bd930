'use strict'

// Builds src/v8.cc, through which V8 gives and takes code: an addon for each version of Node's binary interface whose headers
// are here, beside the addon it belongs to. Without a C++ compiler or headers there is none, and V8's code is not cached.
//
//   node scripts/shim.js <addon>
//
// Node built-ins alone, because packages that are installed from source run it.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.join(__dirname, '..')
const SOURCE = path.join(ROOT, 'src', 'v8.cc')
const NODES = path.join(ROOT, '__test__', 'nodes', 'node_modules')

const FLAGS = ['-shared', '-fPIC', '-O2', '-std=c++20', '-fno-rtti', '-fno-exceptions', '-fvisibility=hidden', '-s']
const APPLE = ['-undefined', 'dynamic_lookup']

/** Where a Node keeps its headers: beside its binary. */
const headersOf = (binary) => path.join(path.dirname(fs.realpathSync(binary)), '..', 'include', 'node')

/** The number of the binary interface that headers are for, as process.versions.modules has it; undefined if there are none. */
function abiOf(headers) {
  const file = path.join(headers, 'node_version.h')
  if (!fs.existsSync(path.join(headers, 'v8-wasm.h')) || !fs.existsSync(file)) return undefined
  return /^#define NODE_MODULE_VERSION (\d+)$/m.exec(fs.readFileSync(file, 'utf8'))?.[1]
}

/** The Nodes that are here: the running one, and those of the tests. */
function nodes() {
  const others = fs.existsSync(NODES) ? fs.readdirSync(NODES).filter((name) => name.startsWith(`${process.platform}-`)) : []
  return [process.execPath, ...others.map((name) => path.join(NODES, name, 'bin', 'node')).filter(fs.existsSync)]
}

/** The shim of an addon, for a binary interface; as lib/code/shim.js has it. */
const shimPath = (addon, abi) =>
  path.join(path.dirname(addon), path.basename(addon).replace(/^wasm-compile-cache\./, `wasm-compile-cache.v8-${abi}.`))

/**
 * Builds what is missing or stale.
 *
 * @param {string} addon the file of the addon
 * @returns {string[]} why there are none, if so
 */
function build(addon) {
  const compiler = process.env.CXX ?? 'c++'
  const found = new Map(nodes().map((node) => [abiOf(headersOf(node)), headersOf(node)]))
  found.delete(undefined)
  if (found.size === 0) return ["Node's headers are not beside its binary: V8's code will not be cached"]
  const problems = []
  for (const [abi, headers] of found) {
    const file = shimPath(addon, abi)
    if (fs.existsSync(file) && fs.statSync(file).mtimeMs >= fs.statSync(SOURCE).mtimeMs) continue
    const aside = `${file}.${process.pid}`
    const own = process.platform === 'darwin' ? APPLE : []
    const { error, status, stderr } = spawnSync(compiler, [...FLAGS, ...own, `-I${headers}`, SOURCE, '-o', aside], {
      encoding: 'utf8',
    })
    if (status === 0) fs.renameSync(aside, file)
    else problems.push(`V8's code will not be cached (binary interface ${abi}): ${error?.message ?? stderr}`)
  }
  return problems
}

module.exports = { build }

if (require.main === module) {
  const problems = build(path.resolve(process.argv[2]))
  for (const problem of problems) console.error(problem)
  process.exitCode = problems.length > 0 ? 1 : 0
}
