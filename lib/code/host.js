'use strict'

// The built-in engine of this process: what its code depends on, and the addon through which it gives and takes code
// (../../src/v8.cc). That one is for one version of Node's binary interface, and for Node alone; where there is none that
// fits, nothing is kept of what V8 compiles.

const path = require('node:path')

const { named, requests } = require('../process/addons.js')

const { release, versions, platform, arch } = process

/** Other programs that have V8 in them have another one, or another way to load addons. */
const isNode = release?.name === 'node' && ['electron', 'bun', 'deno', 'nw'].every((name) => versions[name] === undefined)

/** A file of the addon's, beside which the shim is; nothing is loaded. Whether the file is there is not asked. */
function fileOf(request) {
  if (request === named) return named
  if (request.startsWith('.')) return path.join(__dirname, request)
  try {
    return require.resolve(request)
  } catch {
    return undefined // Not installed.
  }
}

/** As scripts/shim.js names it. */
const shimOf = (addon) =>
  path.join(
    path.dirname(addon),
    path.basename(addon).replace(/^wasm-compile-cache\./, `wasm-compile-cache.v8-${versions.modules}.`)
  )

let file

/** The shim's file; undefined where there is none for this Node. To ask for all of them takes longer than for the first. */
function find() {
  const fs = require('node:fs')
  for (const request of named === undefined ? requests : [named]) {
    const addon = fileOf(request)
    const shim = addon && shimOf(addon)
    if (shim && fs.existsSync(shim)) return shim
  }
  return undefined
}

/** Whether V8's code may be had. Nothing is loaded. */
function isThere() {
  file ??= { name: isNode ? find() : undefined }
  return file.name !== undefined
}

let shim

/** The shim; undefined where it cannot be loaded: built for another Node, or without a symbol that it needs. */
function load() {
  if (shim === undefined) {
    try {
      shim = isThere() ? require(file.name) : null
    } catch {
      shim = null
    }
  }
  return shim ?? undefined
}

/** V8's version, flags and processor in one number. A program may change flags. */
const tag = () => `${shim ? shim.tag() : require('node:v8').cachedDataVersionTag()}`

/** What the code depends on beside a module's bytes. @param {string} options the standard's own (./standard.js) */
const describe = (options) => ({ version: versions.v8, tag: tag(), target: `${platform}-${arch}`, options })

module.exports = { describe, isThere, load, tag }
