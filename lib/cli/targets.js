'use strict'

// The targets of `warm` and `pull`: files, folders, addresses, packages.

const fs = require('node:fs')
const { createRequire } = require('node:module')
const path = require('node:path')
const { fileURLToPath, pathToFileURL } = require('node:url')

const { Failure } = require('./failure.js')

const ADDRESS = /^(https?|file):/i

const asFile = (file) => ({ name: file, url: pathToFileURL(file) })

/** What a link leads to; undefined for one that leads nowhere, or round in circles. */
function leadsTo(name) {
  try {
    return fs.statSync(name)
  } catch {
    return undefined
  }
}

/**
 * The modules below a folder, in the order of their names; without what is in a node_modules folder, if `own`.
 *
 * @param {Set<string>} seen the folders that were looked into: links may lead to one again
 */
function modulesIn(folder, own, seen = new Set()) {
  const real = fs.realpathSync(folder)
  if (seen.has(real)) return []
  seen.add(real)
  return fs
    .readdirSync(folder, { withFileTypes: true })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = path.join(folder, entry.name)
      const found = entry.isSymbolicLink() ? leadsTo(name) : entry
      if (found?.isDirectory()) return own && entry.name === 'node_modules' ? [] : modulesIn(name, own, seen)
      return found?.isFile() && /\.wasm$/i.test(entry.name) ? [name] : []
    })
}

/** The name of a package, and what follows of a path in it. */
const IN_PACKAGE = /^((?:@[^/]+\/)?[^/]+)\/?(.*)$/

/** The folder of a package, as `file` would find it. */
function folderOf(name, file) {
  const require = createRequire(file)
  if (process.versions.pnp) {
    try {
      return require('pnpapi').resolveToUnqualified(name, file, { considerBuiltins: false })
    } catch {
      return undefined
    }
  }
  const paths = require.resolve.paths(name) ?? []
  return paths.map((folder) => path.join(folder, name)).find((folder) => fs.existsSync(path.join(folder, 'package.json')))
}

/**
 * The path of a package, or of what is in it, as the current folder's code would find it; undefined if there is none. Its
 * "exports" may hide its package.json, and its modules.
 */
function pathInPackage(target) {
  const [, name, inside] = IN_PACKAGE.exec(target) ?? []
  if (name === undefined) return undefined
  const found = folderOf(name, path.join(process.cwd(), 'warm.js'))
  const at = found === undefined ? undefined : path.join(found, inside)
  return at !== undefined && fs.existsSync(at) ? fs.realpathSync(at) : undefined
}

function inFolder(folder, target, own) {
  const modules = modulesIn(folder, own)
  if (modules.length === 0) throw new Failure(`${target} has no .wasm file`, 'ERR_WASM_NO_MODULES')
  return modules.map(asFile)
}

/**
 * @param {string} target
 * @returns {{name: string, url: URL}[]}
 */
function modulesOf(target) {
  if (ADDRESS.test(target)) {
    const url = new URL(target)
    return [url.protocol === 'file:' ? asFile(fileURLToPath(url)) : { name: target, url }]
  }
  const found = fs.statSync(target, { throwIfNoEntry: false })
  if (found?.isDirectory()) return inFolder(path.resolve(target), target, false)
  if (found !== undefined) return [asFile(path.resolve(target))]
  const packaged = pathInPackage(target)
  if (packaged !== undefined) {
    return fs.statSync(packaged).isFile() ? [asFile(packaged)] : inFolder(packaged, `the package ${target}`, true)
  }
  throw new Failure(`${target} is not a file, a folder, an address or a package that is installed here`, 'ENOENT')
}

/** The modules that targets stand for, and the targets that stand for nothing. */
function collect(targets) {
  const modules = new Map()
  const failures = []
  for (const target of targets) {
    try {
      for (const module of modulesOf(target)) modules.set(module.url.href, module)
    } catch (error) {
      if (!(error instanceof Failure) && error.code === undefined) throw error
      failures.push({ source: target, status: 'failed', reason: error.message, code: error.code })
    }
  }
  return { modules: [...modules.values()], failures }
}

module.exports = { collect }
