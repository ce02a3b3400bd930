'use strict'

// What a program, or the environment, says of the cache that machines share, checked.
//
// Promise: no message holds anything of a key, nor of an address what could be a password.

const path = require('node:path')

const WHERE = 'The remote cache'

/** How an address names what reaches it; `needs` is what is not in Node. */
const SERVICES = {
  'file:': {},
  'http:': {},
  'https:': {},
  's3:': { needs: 'opendal' },
  'gcs:': { needs: 'opendal' },
  'azblob:': { needs: 'opendal' },
  'redis:': { needs: 'opendal' },
  'rediss:': { needs: 'opendal' },
  'memcached:': { needs: 'opendal' },
  'ghac:': { needs: 'opendal' },
}

const OPTIONS = ['url', 'keys', 'sign', 'trust', 'mode']

const refusal = (code, message) => Object.assign(new TypeError(`${WHERE}: ${message}`), { code })

const invalid = (message) => refusal('ERR_INVALID_ARG_VALUE', message)

/** An address without what could be secret. */
function shown(url) {
  const { protocol, host, pathname } = new URL(url)
  return `${protocol}//${host}${pathname}`
}

function checkAddress(text) {
  if (typeof text !== 'string' || !URL.canParse(text)) {
    throw invalid(`"url" must be an address like s3://bucket/prefix?region=eu-central-1, got ${typeof text}`)
  }
  const { protocol } = new URL(text)
  if (!Object.hasOwn(SERVICES, protocol)) {
    throw invalid(`there is no service for ${protocol} The services are ${Object.keys(SERVICES).join(' ')}`)
  }
  return text
}

/** A key as its own text, or in a file whose name is made absolute: the program may change its folder. */
const placeOf = (key) => (key.includes('-----BEGIN ') ? key : path.resolve(key))

function placeOfKey(key, kind) {
  if (typeof key !== 'string' || key === '') throw invalid(`a ${kind} key must be a path, or the text of a PEM file`)
  return placeOf(key)
}

/** Fails unless all keys can be read. */
function checkKeys({ keys, sign }) {
  const { readPrivateKey, readPublicKey } = require('../cache/archive/keys.js')
  const check = (key, kind, read) => (key.includes('-----BEGIN ') ? read(`the ${kind} key`, key) : read(key))
  for (const key of keys) check(key, 'public', readPublicKey)
  if (sign !== undefined) check(sign, 'private', readPrivateKey)
}

/** Whether what a service needs is installed. */
function findPackage(url) {
  const { needs } = SERVICES[new URL(url).protocol]
  if (needs === undefined) return undefined
  try {
    return require.resolve(needs)
  } catch {
    throw Object.assign(
      new Error(`${WHERE}: ${shown(url)} is reached through the package "opendal", which is not installed: npm install opendal`),
      { code: 'ERR_WASM_REMOTE_PACKAGE' }
    )
  }
}

/**
 * @param {object | string} given `{url, keys, sign, trust, mode}`, or the address alone
 * @returns {{url: string, keys: string[], sign?: string, trust: boolean, writes: boolean}} `keys` and `sign` are paths or texts
 */
function readSettings(given) {
  const options = typeof given === 'string' ? { url: given } : given
  if (typeof options !== 'object' || options === null) {
    throw refusal('ERR_INVALID_ARG_TYPE', `it must be an address or an object, got ${options === null ? 'null' : typeof options}`)
  }
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
  if (unknown !== undefined) throw invalid(`there is no option "${unknown}". The options are ${OPTIONS.join(', ')}`)
  const { url, keys = [], sign, trust = false, mode = 'read-write' } = options
  checkAddress(url)
  if (typeof trust !== 'boolean') throw invalid(`"trust" must be a boolean, got ${typeof trust}`)
  if (!['read-only', 'read-write'].includes(mode)) throw invalid(`"mode" must be "read-only" or "read-write", got ${String(mode)}`)
  const list = Array.isArray(keys) ? keys : [keys]
  if (trust && list.length > 0) throw invalid('pass "keys" or "trust", not both: with "trust" no signature is checked')
  const texts = list.map((key) => placeOfKey(key, 'public'))
  const signer = sign === undefined ? undefined : placeOfKey(sign, 'private')
  if (!trust && texts.length === 0 && signer === undefined) {
    throw invalid(
      'name the public keys that artifacts are signed with ("keys"), or pass "trust: true": their code will be executed'
    )
  }
  findPackage(url)
  return { url, keys: texts, sign: signer, trust, writes: mode === 'read-write' && (signer !== undefined || trust) }
}

/** {@link readSettings}, with the keys checked: for who has time for that. */
function readChecked(given) {
  const settings = readSettings(given)
  checkKeys(settings)
  return settings
}

/** What the environment says, as {@link readSettings} takes it. */
function givenBy(environment) {
  const {
    WASM_COMPILE_CACHE_REMOTE: url,
    WASM_COMPILE_CACHE_REMOTE_KEYS: keys,
    WASM_COMPILE_CACHE_REMOTE_SIGN: sign,
    WASM_COMPILE_CACHE_REMOTE_TRUST: trust,
    WASM_COMPILE_CACHE_REMOTE_MODE: mode,
  } = environment
  return {
    ...(url ? { url } : {}),
    ...(keys ? { keys: splitKeys(keys) } : {}),
    ...(sign ? { sign } : {}),
    ...(trust === '1' ? { trust: true } : {}),
    ...(mode ? { mode } : {}),
  }
}

/** What the environment says; undefined where it names no remote. Keys are read when they are needed: programs start with this. */
function settingsOf(environment) {
  const given = givenBy(environment)
  return given.url === undefined ? undefined : readSettings(given)
}

/** Paths, separated as in PATH, or the texts of keys. */
function splitKeys(keys) {
  const texts = keys.match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g)
  return texts ?? keys.split(path.delimiter).filter((key) => key !== '')
}

/** What {@link settingsOf} would read, for another process. */
function environmentOf({ url, keys, sign, trust, writes }) {
  return {
    WASM_COMPILE_CACHE_REMOTE: url,
    WASM_COMPILE_CACHE_REMOTE_KEYS: keys.join(keys.some((key) => key.includes('-----')) ? '\n' : path.delimiter),
    WASM_COMPILE_CACHE_REMOTE_SIGN: sign ?? '',
    WASM_COMPILE_CACHE_REMOTE_TRUST: trust ? '1' : '',
    WASM_COMPILE_CACHE_REMOTE_MODE: writes ? 'read-write' : 'read-only',
  }
}

module.exports = { environmentOf, findPackage, givenBy, readChecked, settingsOf, shown }
