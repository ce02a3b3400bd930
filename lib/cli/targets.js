'use strict'

// What `warm` is told to compile: files, folders, addresses, packages.

const fs = require('node:fs')
const { createRequire } = require('node:module')
const path = require('node:path')
const { fileURLToPath, pathToFileURL } = require('node:url')

const { Failure } = require('./failure.js')

const ADDRESS = /^(https?|file):/

const asFile = (file) => ({ name: file, url: pathToFileURL(file) })

/** The modules below a folder, in the order of their names; without what is in a node_modules folder, if `own`. */
function modulesIn(folder, own) {
  return fs.readdirSync(folder, { withFileTypes: true, recursive: false })
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((entry) => {
      const name = path.join(folder, entry.name)
      if (entry.isDirectory()) return own && entry.name === 'node_modules' ? [] : modulesIn(name, own)
      return entry.isFile() && entry.name.endsWith('.wasm') ? [name] : []
    })
}

/** The folder of a package, as the current folder's code would find it. Its "exports" may hide its package.json. */
function packageFolder(name) {
  const paths = createRequire(path.join(process.cwd(), 'warm.js')).resolve.paths(name) ?? []
  const found = paths.map((folder) => path.join(folder, name)).find((folder) => fs.existsSync(path.join(folder, 'package.json')))
  return found === undefined ? undefined : fs.realpathSync(found)
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
  const folder = packageFolder(target)
  if (folder !== undefined) return inFolder(folder, `the package ${target}`, true)
  throw new Failure(`${target} is no file, no folder, no address, and no package that is installed here`, 'ENOENT')
}

module.exports = { modulesOf }
