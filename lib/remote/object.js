'use strict'

// An artifact as the remote cache has it: a line that names the format, the length of the manifest, the manifest, an Ed25519
// signature over it, and the packed bytes, whose hash the manifest has.
//
// Promise: what decode() returns carries the signature of one of the keys, byte for byte, if there are keys.

const { SIGNATURE_BYTES, sign, verify } = require('../cache/archive/keys.js')
const { checkEntry, isAmount, isHex, isObject, shareable } = require('../cache/archive/manifest.js')

const MAGIC = Buffer.from('wasm-compile-cache object 1\n')
const TYPE = 'wasm-compile-cache object'
const HEAD = MAGIC.length + 4
const MAX_MANIFEST = 2 ** 20

/** Why an object is not used; `reason` begins with a stable word. */
class Refused extends Error {
  constructor(reason) {
    super(reason)
    this.reason = reason
  }
}

const FIELDS = {
  digest: [isHex, '64 hexadecimal digits'],
  imageBytes: [isAmount, 'a number of bytes'],
  metaBytes: [isAmount, 'a number of bytes'],
}

/**
 * @param {object} packed what native packed
 * @param {import('node:crypto').KeyObject} [key] signs it
 */
function encode(key, { bytes, ...about }, version, artifact) {
  const source = shareable(about.source)
  const manifest = Buffer.from(JSON.stringify({ type: TYPE, package: version, key: artifact, ...about, source }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(manifest.length)
  const signature = key === undefined ? Buffer.alloc(SIGNATURE_BYTES) : sign(manifest, key)
  return Buffer.concat([MAGIC, length, manifest, signature, Buffer.from(bytes)])
}

function parse(bytes) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new Refused('manifest: it is no JSON')
  }
}

/**
 * @param {Buffer} object
 * @param {string} artifact the key of the artifact that was asked for
 * @param {import('node:crypto').KeyObject[]} [keys] one of which must have signed it; none: whatever comes is trusted
 * @returns {{about: object, bytes: Buffer}} as native packs it
 */
function decode(object, artifact, keys) {
  if (object.length < HEAD || !object.subarray(0, MAGIC.length).equals(MAGIC)) throw new Refused('magic: it is no artifact')
  const length = object.readUInt32LE(MAGIC.length)
  const end = HEAD + length + SIGNATURE_BYTES
  if (length > MAX_MANIFEST || end > object.length) throw new Refused('truncated: it is cut off')
  const manifest = object.subarray(HEAD, HEAD + length)
  const signature = object.subarray(HEAD + length, end)
  if (keys !== undefined && !keys.some((key) => verify(manifest, key, signature))) {
    throw new Refused(
      signature.every((byte) => byte === 0)
        ? 'unsigned: it is not signed'
        : 'signature: it was not signed with one of the keys, or was changed since'
    )
  }
  const about = parse(manifest)
  if (!isObject(about) || about.type !== TYPE) throw new Refused('manifest: it is not that of an artifact')
  checkEntry(about, (message) => new Refused(`manifest: it ${message}`), FIELDS)
  if (about.key !== artifact) throw new Refused(`wrong-key: it is the artifact ${about.key}`)
  return { about, bytes: object.subarray(end) }
}

module.exports = { Refused, decode, encode }
