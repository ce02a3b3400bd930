'use strict'

// The file that a module was read from, which lies beside the script that has it compiled: as the glue code of almost all
// packages has it. Its bytes need not be written once more by a process that ends.
//
// Promise: never throws, and runs nothing of the program's.

const fs = require('node:fs')
const path = require('node:path')
const { fileURLToPath } = require('node:url')

const { sample } = require('./sample.js')

const { defineProperty, deleteProperty, getOwnPropertyDescriptor } = Reflect

const FRAMES = 10

/** The frames of the stack, not formatted. Nobody else sees what this sets. */
function callSites() {
  const before = ['prepareStackTrace', 'stackTraceLimit'].map((name) => [name, getOwnPropertyDescriptor(Error, name)])
  const holder = {}
  try {
    Error.prepareStackTrace = (_, sites) => sites
    Error.stackTraceLimit = FRAMES
    Error.captureStackTrace(holder, callSites)
    return holder.stack
  } finally {
    for (const [name, property] of before) {
      if (property === undefined) deleteProperty(Error, name)
      else defineProperty(Error, name, property)
    }
  }
}

/** @returns {string[]} the folders of the scripts that are on the stack, but for this package's, the innermost first */
function foldersOfCallers() {
  try {
    const files = callSites().map((site) => site.getFileName())
    const scripts = files.map((file) => (file?.startsWith('file:') ? fileURLToPath(file) : file))
    const folders = scripts.filter((file) => path.isAbsolute(file ?? '')).map((file) => path.dirname(file))
    return [...new Set(folders)].filter((folder) => folder !== __dirname)
  } catch {
    return []
  }
}

/** Whether the system has the file: yarn's Plug'n'Play has `node:fs` look into archives, of which no other process knows. */
const isSystems = (fd) => process.platform !== 'linux' || fs.existsSync(`/proc/self/fd/${fd}`)

/** Whether the file is of this name (./sample.js). */
function isNamed(file, { name, size, ...about }) {
  const found = fs.statSync(file)
  if (!found.isFile() || found.size !== size) return false
  const fd = fs.openSync(file)
  try {
    const read = (from, to) => {
      const bytes = new Uint8Array(to - from)
      fs.readSync(fd, bytes, 0, bytes.length, from)
      return bytes
    }
    return isSystems(fd) && sample(size, read, about) === name
  } finally {
    fs.closeSync(fd)
  }
}

/**
 * @param {string[]} folders
 * @param {{name: string, size: number, partition: string, standard: string}} module
 * @returns {string | undefined} the file that it was read from, or one that has the same name
 */
function fileOf(folders, module) {
  for (const folder of folders) {
    try {
      const names = fs.readdirSync(folder).filter((name) => name.endsWith('.wasm'))
      const file = names.map((name) => path.join(folder, name)).find((one) => isNamed(one, module))
      if (file !== undefined) return file
    } catch {
      // Not a folder of this file system, or not for us to read.
    }
  }
  return undefined
}

module.exports = { fileOf, foldersOfCallers }
