'use strict'
// Machines that share a cache: each a process with a cache directory, and so a seal, of its own.

const crypto = require('node:crypto')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { assemble, chain } = require('../children/modules.js')
const { keyPair } = require('./archives.js')
const { named } = require('./commands.js')
const { remove } = require('./remove.js')

/**
 * Modules of a known result, and a pair of keys, for the tests of a file.
 *
 * @returns {Promise<{file: string, large: string, right: number[], keys: object, other: object, remove: () => void}>} `large`: one
 *   that machines claim, which have 1 MiB
 */
async function material() {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-remote-'))
  const write = async (name, length) => {
    const bytes = await assemble(chain(length))
    fs.writeFileSync(path.join(root, name), bytes)
    return bytes
  }
  const right = async (bytes) => {
    const { instance } = await WebAssembly.instantiate(bytes, { env: { tick: (x) => x + 1 } })
    return [instance.exports.run(20)]
  }
  const bytes = await write('module.wasm', 100)
  const large = await write('large.wasm', 1200)
  if (large.length < 2 ** 20) throw new Error('machines would not claim it')
  return {
    file: path.join(root, 'module.wasm'),
    large: path.join(root, 'large.wasm'),
    right: await right(bytes),
    rightOfLarge: await right(large),
    keys: keyPair(root),
    other: keyPair(root),
    remove: () => remove(root),
  }
}

/** A command that compiles, and waits for all that comes of it. */
const job = (file, more) => ({ modules: [{ file, options: { minSize: 0 }, calls: [['run', 20]] }], flush: true, ...more })

const results = (ended) => ended.modules[0].results

/** Where the optimised code came from. */
const origins = (all) =>
  all.map((ended) => named(ended, 'optimizedReady')[0]?.from ?? (named(ended, 'remoteHit').length > 0 ? 'remote' : 'cache'))

/** Who reads, and who writes, too. */
const reader = ({ url, env }, { publicKey }) => ({
  ...env,
  WASM_COMPILE_CACHE_REMOTE: url,
  WASM_COMPILE_CACHE_REMOTE_KEYS: publicKey,
})
const writer = (remote, keys) => ({ ...reader(remote, keys), WASM_COMPILE_CACHE_REMOTE_SIGN: keys.privateKey })

const MAGIC = 'wasm-compile-cache object 2\n'

/** The parts of an object, taken apart other than the package does: {manifest, signature, payload}. */
function open(object) {
  const length = object.readUInt32LE(MAGIC.length)
  const at = MAGIC.length + 4
  return {
    manifest: JSON.parse(object.subarray(at, at + length)),
    signature: object.subarray(at + length, at + length + 64),
    payload: object.subarray(at + length + 64),
  }
}

/** An object of these parts; signed with a PEM file's key, or with `signature`. */
function close({ manifest, payload }, { privateKey, signature = Buffer.alloc(64) } = {}) {
  const text = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text.length)
  const signed = privateKey === undefined ? signature : crypto.sign(null, text, fs.readFileSync(privateKey))
  return Buffer.concat([Buffer.from(MAGIC), length, text, signed, payload])
}

/** The files of a folder that are objects: their paths. */
const objects = (root) =>
  fs
    .readdirSync(root, { recursive: true })
    .filter((name) => /[0-9a-f]{64}$/.test(name))
    .map((name) => path.join(root, name))

module.exports = { close, job, material, objects, open, origins, reader, results, writer }
