'use strict'

// Entries of the cache in one file, to ship: cache.export() and cache.import().
//
// An archive is a tar: manifest.json, manifest.sig (Ed25519 over the bytes of manifest.json; if it was signed), then image
// and metadata of each entry. The seals stay behind: they are the user's. Import seals anew.

const path = require('node:path')
const { fileURLToPath } = require('node:url')

const { native } = require('../process/native.js')
const { argumentError } = require('../compile/options.js')

const EXPORT = 'cache.export()'
const IMPORT = 'cache.import()'

const KEY = /^[0-9a-f]{64}$/

const invalid = (where, message) => argumentError('ERR_INVALID_ARG_VALUE', `${where}: ${message}`)

const wrongType = (where, what, expected, value) =>
  argumentError('ERR_INVALID_ARG_TYPE', `${where}: ${what} must be ${expected}, got ${value === null ? 'null' : typeof value}`)

function pathOf(file, where, what) {
  // Of any realm; Node checks the rest.
  if (typeof file?.href === 'string') return fileURLToPath(file.href)
  if (typeof file !== 'string') throw wrongType(where, what, 'a path or a file: URL', file)
  if (file === '') throw invalid(where, `${what} must not be empty`)
  return path.resolve(file)
}

function checkOptions(options, known, where) {
  if (typeof options !== 'object' || options === null) throw wrongType(where, 'Argument 1', 'an object', options)
  const unknown = Object.keys(options).find((name) => !known.includes(name))
  if (unknown !== undefined) throw invalid(where, `There is no option "${unknown}". The options are ${known.join(', ')}`)
}

/** Fails unless there is a cache, which can be written if that is asked for. */
function checkCache(isWritten) {
  const { status, root, message } = native.cacheStatus()
  const refuse = (code, text) => Object.assign(new Error(text), { code })
  if (status === 'failed') throw refuse('ERR_WASM_CACHE_FAILED', message)
  if (status === 'disabled') throw refuse('ERR_WASM_CACHE_DISABLED', 'the cache is disabled')
  if (status === 'read-only' && isWritten) throw refuse('ERR_WASM_CACHE_READ_ONLY', `${root ?? 'the cache'} can only be read`)
}

/** The entries to export; of those with `keys` no more than the key. */
function chosen({ keys, partition }) {
  if (keys === undefined) {
    return native.cacheEntries().filter((entry) => entry.current && (partition === undefined || entry.partition === partition))
  }
  if (!Array.isArray(keys)) throw wrongType(EXPORT, 'The option "keys"', 'an array', keys)
  const wrong = keys.find((key) => typeof key !== 'string' || !KEY.test(key))
  if (wrong !== undefined) throw invalid(EXPORT, `${String(wrong)} is not the key of an entry`)
  return [...new Set(keys)].map((key) => ({ key }))
}

/**
 * Writes entries of this version of the package into an archive. What has this name is replaced. What is damaged is left out,
 * unless it is among `keys`.
 *
 * @param {string | URL} file
 * @param {{keys?: string[], partition?: string, sign?: string | URL}} [options] `keys` or `partition`: only these entries;
 *   `sign`: the file with the private key that signs the archive
 */
async function exportArchive(file, options = {}) {
  const target = pathOf(file, EXPORT, 'Argument 0')
  checkOptions(options, ['keys', 'partition', 'sign'], EXPORT)
  const { keys, partition, sign } = options
  if (partition !== undefined && typeof partition !== 'string') {
    throw wrongType(EXPORT, 'The option "partition"', 'a string', partition)
  }
  if (keys !== undefined && partition !== undefined) throw invalid(EXPORT, 'Pass "keys" or "partition", not both')
  const { readPrivateKey } = require('./archive/keys.js')
  const signer = sign === undefined ? undefined : readPrivateKey(pathOf(sign, EXPORT, 'The option "sign"'))
  checkCache(false)
  const { writeArchive } = require('./archive/write.js')
  const { entries, damaged, bytes } = await writeArchive(target, chosen(options), { signer, isExact: keys !== undefined })
  return {
    file: target,
    bytes,
    signed: signer !== undefined,
    entries: entries.map(({ key, hash, source, partition, image, meta }) => ({
      key,
      hash,
      source,
      partition,
      bytes: image.bytes + meta.bytes,
    })),
    omitted: damaged.map(({ key, hash, source, partition, path }) => ({ key, hash, source, partition, path })),
  }
}

/**
 * Takes the entries of an archive into the cache, sealed with this user's key.
 *
 * The archive holds machine code that later runs execute with all rights of the process. So it must carry the signature of
 * `key`; with `trust: true` anything in it is taken, which means running a program of whoever can write the file.
 *
 * @param {string | URL} file
 * @param {{key?: string | URL, trust?: true}} options `key`: the file with the public key; or `trust: true`
 */
async function importArchive(file, options = {}) {
  const source = pathOf(file, IMPORT, 'Argument 0')
  checkOptions(options, ['key', 'trust'], IMPORT)
  const { key, trust = false } = options
  if (typeof trust !== 'boolean') throw wrongType(IMPORT, 'The option "trust"', 'a boolean', trust)
  if (key === undefined && !trust) {
    throw invalid(
      IMPORT,
      'Name the public key that the archive is signed with ("key"), or pass "trust: true": its code will be executed'
    )
  }
  if (key !== undefined && trust) throw invalid(IMPORT, 'Pass "key" or "trust", not both: with "trust" no signature is checked')
  const { readPublicKey } = require('./archive/keys.js')
  const verifier = key === undefined ? undefined : readPublicKey(pathOf(key, IMPORT, 'The option "key"'))
  checkCache(true)
  const { readArchive } = require('./archive/read.js')
  return readArchive(source, verifier)
}

module.exports = { exportArchive, importArchive }
