'use strict'

// The cache that machines share, as a thread of it sees it: objects by the key of their artifact, verified.
//
// The folder of an artifact has the version of this package, and what else shapes code: rules of the service can remove what
// no machine asks for any more.

const { version } = require('../../package.json')
const { folderOf } = require('./direct.js')
const { open, within } = require('./storage.js')

// How long a server may take, in ms, to answer a question, to give an object, to take one. Programs run their baseline meanwhile,
// and their optimizing tier waits for the first of them only.
const ASK = 2_000
// Of what reaches the server, which is no server's fault.
const START = 10_000
const GET = 20_000
const PUT = 120_000

const read = (reader, kind, place) => (place.includes('-----BEGIN ') ? reader(`the ${kind} key`, place) : reader(place))

/** A public key as native code takes it: its 32 bytes, in hexadecimal digits. */
const rawKey = (key) => Buffer.from(key.export({ format: 'jwk' }).x, 'base64url').toString('hex')

class Remote {
  #address
  #settings
  #read
  #native
  #folder

  /** @param {object} settings of ./settings.js */
  constructor({ url, keys, sign, trust }, native, environment) {
    this.#address = url
    this.#native = native
    this.#settings = { keys, sign, trust }
    this.storage = open(url, environment)
    this.#folder = folderOf(native)
  }

  /** The keys, read: `signer`, and `trusted`, one of which must have signed what comes; null: everything is trusted. */
  get #keys() {
    if (this.#read !== undefined) return this.#read
    const crypto = require('node:crypto')
    const { readPrivateKey, readPublicKey } = require('../cache/archive/keys.js')
    const { keys, sign, trust } = this.#settings
    const signer = sign === undefined ? undefined : read(readPrivateKey, 'private', sign)
    const trusted = keys.map((key) => read(readPublicKey, 'public', key))
    // What this machine signs it may read.
    if (signer !== undefined) trusted.push(crypto.createPublicKey(signer))
    this.#read = { signer, trusted: trust ? null : trusted.map(rawKey) }
    return this.#read
  }

  /** The keys one of which must have signed an object, for native code. */
  get trusted() {
    return this.#keys.trusted
  }

  #place = (key) => `${this.#folder}/${key}`

  /** Something small is done with the storage. */
  async ask(action) {
    await within(START, this.#address, this.storage.ready)
    return within(ASK, this.#address, action)
  }

  /** Where the claim of an artifact is. */
  claimOf = (key) => `${this.#place(key)}.claim`

  /**
   * The object of a key, not looked into; undefined if there is none.
   *
   * @param {string} key
   * @param {() => void} [there] is called when it is known that there is one
   * @returns {Promise<Buffer | undefined>}
   */
  async get(key, there = () => {}) {
    await within(START, this.#address, this.storage.ready)
    return within(ASK, this.#address, (signal, give) =>
      this.storage.read(this.#place(key), signal, () => {
        give(GET)
        there()
      })
    )
  }

  /** Whether there is an object of this key. */
  has(key) {
    return this.ask((signal) => this.storage.exists(this.#place(key), signal))
  }

  /**
   * Sends an artifact of the cache.
   *
   * @param {string} key
   * @param {boolean} [replaces] what is there
   * @returns {Promise<number>} how many bytes. 0: it is there, or not here any more
   */
  async put(key, replaces = false) {
    if (!replaces && (await this.has(key))) return 0
    const packed = this.#native.remotePack(key)
    if (packed === null) return 0
    const { encode } = require('./object.js')
    const object = encode(this.#keys.signer, packed, version, key)
    const isNew = await within(PUT, this.#address, (signal) =>
      this.storage.write(this.#place(key), object, { exclusive: !replaces, signal })
    )
    return isNew ? object.length : 0
  }

  /** The keys of all artifacts for this machine; undefined where the service cannot list them. */
  async keys() {
    const names = await within(PUT, this.#address, () => this.storage.list(this.#folder))
    return names?.filter((name) => /^[0-9a-f]{64}$/.test(name))
  }

  /** Fails if it cannot be reached, or the keys cannot be read; with `writes`, if nothing can be written there. */
  async probe(writes) {
    void this.#keys
    const name = `${this.#folder}/probe-${process.pid}-${Date.now()}`
    await this.ask((signal) => this.storage.exists(name, signal))
    if (!writes) return
    await this.ask((signal) => this.storage.write(name, Buffer.from('probe'), { signal }))
    const found = await this.ask((signal) => this.storage.read(name, signal))
    if (found?.toString() !== 'probe') throw new Error('what was written is not what is read')
    await this.ask(() => this.storage.remove(name))
  }
}

module.exports = { Remote }
