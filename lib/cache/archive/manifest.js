'use strict'

// The first member of an archive: what the others are. It is what is signed.

const { ArchiveError } = require('./error.js')

const TYPE = 'wasm-compile-cache'
const FORMAT = 1

const MANIFEST = 'manifest.json'
const SIGNATURE = 'manifest.sig'

const MAX_MANIFEST = 64 * 2 ** 20
// As in crates/store/src/store.rs.
const MAX_IMAGE = 2 * 2 ** 30
const MAX_META = 16 * 2 ** 20

const HEX = /^[0-9a-f]{64}$/

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
const isText = (value) => typeof value === 'string'
// A lone surrogate is nothing that a cache holds; JSON has escapes for it.
const isWellFormed = (value) => isText(value) && value.isWellFormed()
const isHex = (value) => isText(value) && HEX.test(value)
const isAmount = (value) => Number.isSafeInteger(value) && value >= 0

/** What each field of an entry must be. */
const FIELDS = {
  key: [isHex, '64 hexadecimal digits'],
  hash: [isHex, '64 hexadecimal digits'],
  partition: [isWellFormed, 'a well-formed string'],
  source: [isWellFormed, 'a well-formed string'],
  engine: [(value) => isObject(value) && Object.values(value).every(isWellFormed), 'an object of well-formed strings'],
  wasmBytes: [isAmount, 'a number of bytes'],
  created: [isAmount, 'a number of milliseconds'],
  head: [(value) => value === '' || isHex(value), "64 hexadecimal digits, or ''"],
  image: [isObject, 'an object'],
  meta: [isObject, 'an object'],
}

/** The two members of an entry, with the most that each may have. */
const PARTS = { image: MAX_IMAGE, meta: MAX_META }

/** Where a module came from, without what others must not see: queries and passwords can be secrets. */
function shareable(source) {
  if (!URL.canParse(source)) return source
  const { protocol, origin, pathname } = new URL(source)
  return protocol === 'http:' || protocol === 'https:' ? origin + pathname : source
}

const memberOf = ({ key }, part) => `${key}.${part}`

/** @param {object[]} entries see FIELDS */
function encodeManifest(entries, version) {
  const text = JSON.stringify({ type: TYPE, format: FORMAT, package: version, entries }, null, 2)
  return Buffer.from(`${text}\n`)
}

/**
 * The entries of a manifest, each as it must be.
 *
 * @param {Buffer} bytes
 * @param {string} file the archive, for messages
 */
function decodeManifest(bytes, file) {
  const refuse = (message, code = 'MANIFEST') => new ArchiveError(code, `${file}: ${MANIFEST} ${message}`)
  const manifest = parse(bytes, refuse)
  if (!isObject(manifest) || manifest.type !== TYPE) throw refuse('is not that of an archive of this package')
  if (!isAmount(manifest.format)) throw refuse('must have a number for "format"')
  if (manifest.format !== FORMAT) {
    throw refuse(`has the format ${manifest.format}, and this version of the package reads ${FORMAT}`, 'FORMAT')
  }
  if (!isText(manifest.package)) throw refuse('must have a string for "package"')
  if (!Array.isArray(manifest.entries)) throw refuse('must have an array for "entries"')
  const keys = new Set()
  manifest.entries.forEach((entry, index) => {
    checkMembers(entry, (message, code) => refuse(`has an entry, number ${index}, that ${message}`, code))
    if (keys.has(entry.key)) throw refuse(`has the entry ${entry.key} twice`, 'DUPLICATE')
    keys.add(entry.key)
  })
  return manifest.entries
}

function parse(bytes, refuse) {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw refuse('is no JSON')
  }
}

/** Fails unless an entry has all that describes one. */
function checkEntry(entry, refuse) {
  if (!isObject(entry)) throw refuse('is no object')
  for (const [name, [isGood, expected]] of Object.entries(FIELDS)) {
    if (!isGood(entry[name])) throw refuse(`must have ${expected} for "${name}"`)
  }
}

function checkMembers(entry, refuse) {
  checkEntry(entry, refuse)
  for (const [part, limit] of Object.entries(PARTS)) {
    const { bytes, sha256 } = entry[part]
    if (!isAmount(bytes)) throw refuse(`must have a number of bytes for "${part}.bytes"`)
    if (bytes > limit) throw refuse(`has ${bytes} bytes for its ${part}, more than the ${limit} that are allowed`, 'TOO_LARGE')
    if (!isHex(sha256)) throw refuse(`must have 64 hexadecimal digits for "${part}.sha256"`)
  }
}

module.exports = {
  MANIFEST,
  MAX_MANIFEST,
  PARTS: Object.keys(PARTS),
  SIGNATURE,
  decodeManifest,
  encodeManifest,
  memberOf,
  shareable,
}
