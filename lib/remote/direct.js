'use strict'

// What native code has to know to read a remote cache itself, without the thread that ./service.js is: folders, and web servers
// without TLS.

const path = require('node:path')
const { fileURLToPath } = require('node:url')

const { version } = require('../../package.json')

/** Where the artifacts are that this engine could use, below the remote's address. */
function folderOf(native) {
  const engine = native.hashOf(Buffer.from(JSON.stringify(native.engineFingerprint())))
  return `${version}/${engine.slice(0, 16)}`
}

/** The header that a server is sent; undefined if there is none. */
function authorizationOf({ username, password }, { WASM_COMPILE_CACHE_REMOTE_TOKEN: token }) {
  if (username === '') return token ? `Bearer ${token}` : undefined
  return `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')}`
}

/** What stands in an address before and behind a name. */
function aroundName({ origin, pathname, search }) {
  return { prefix: `${origin}${pathname.replace(/\/$/, '')}/`, suffix: search }
}

/**
 * @param {object} settings of ./settings.js
 * @param {string} [failures] the file that counts failures in a row
 * @returns as native code takes it; undefined where it cannot be
 */
function directOf({ url, keys, sign, trust }, native, environment, failures) {
  const address = new URL(url)
  // What this machine signs it may read.
  const trusted = trust ? null : [...keys, ...(sign === undefined ? [] : [sign])]
  const all = { keys: trusted, failures }
  const folder = folderOf(native)
  if (address.protocol === 'file:') return { folder: path.join(fileURLToPath(address), folder), ...all }
  if (address.protocol !== 'http:') return undefined
  const { prefix, suffix } = aroundName(address)
  return { prefix: `${prefix}${folder}/`, suffix, authorization: authorizationOf(address, environment), ...all }
}

module.exports = { aroundName, authorizationOf, directOf, folderOf }
