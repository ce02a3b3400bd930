'use strict'

// An artifact as the remote cache has it: a line that names the format, the length of the manifest, the manifest, an Ed25519
// signature over it, and the packed bytes, whose hash the manifest has. Native code reads it (crates/engine/src/tier/object.rs).

const { SIGNATURE_BYTES, sign } = require('../cache/archive/keys.js')
const { shareable } = require('../cache/archive/manifest.js')

const MAGIC = Buffer.from('wasm-compile-cache object 2\n')
const TYPE = 'wasm-compile-cache object'

/**
 * @param {import('node:crypto').KeyObject} [key] signs it
 * @param {object} packed what native packed
 * @param {string} version of this package
 * @param {string} artifact its key
 */
function encode(key, { bytes, ...about }, version, artifact) {
  const source = shareable(about.source)
  const manifest = Buffer.from(JSON.stringify({ type: TYPE, package: version, key: artifact, ...about, source }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(manifest.length)
  const signature = key === undefined ? Buffer.alloc(SIGNATURE_BYTES) : sign(manifest, key)
  return Buffer.concat([MAGIC, length, manifest, signature, Buffer.from(bytes)])
}

module.exports = { encode }
