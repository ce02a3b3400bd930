'use strict'

// From an archive into the cache.
//
// Promise: nothing is stored that is not, byte for byte, what a manifest with the right signature names (with `trust`,
// any manifest). An archive that is not in order is an error; the entries before that place stay, because they were
// verified. One entry is in memory at a time.

const crypto = require('node:crypto')
const fs = require('node:fs/promises')
const tar = require('tar-stream')

const { native } = require('../../process/native.js')
const { readOptions } = require('../../compile/options.js')
const { differencesOf, reasonOf } = require('./differences.js')
const { ArchiveError } = require('./error.js')
const { SIGNATURE_BYTES, verify } = require('./keys.js')
const { MANIFEST, MAX_MANIFEST, PARTS, SIGNATURE, decodeManifest, memberOf } = require('./manifest.js')

// Read at once; larger than the 64 KiB of a stream, for files of gigabytes.
const CHUNK = 2 ** 20
// Of a tar: members and their headers begin at multiples of it, and two of zeros are the end.
const BLOCK = 512
const END = 2 * BLOCK

const blocks = (bytes) => Math.ceil(bytes / BLOCK) * BLOCK

/** The members of an archive, one after the other. */
class Members {
  #file
  #size
  #input
  #iterator
  #seen = new Set()
  #known = new Set()

  /** @param {import('node:fs').ReadStream} input the archive, `size` bytes of `file` */
  constructor(input, file, size) {
    const extract = tar.extract()
    this.#file = file
    this.#size = size
    this.#input = input
    this.#iterator = extract[Symbol.asyncIterator]()
    input.on('error', (error) => extract.destroy(error))
    input.pipe(extract)
  }

  error(code, message, options) {
    return new ArchiveError(code, `${this.#file}: ${message}`, options)
  }

  /** What the manifest names, beside what is there anyway. */
  know(names) {
    this.#known = new Set(names)
  }

  /** The next one; undefined at the end. */
  async next() {
    const { value: member } = await this.#iterator.next().catch((error) => this.#broken(error))
    if (member === undefined) return undefined
    const { name, type, size, byteOffset } = member.header
    if (type !== 'file') {
      throw this.error('EXTRA', `${JSON.stringify(name)}, a ${type ?? 'member of unknown type'}, does not belong into it`)
    }
    if (/[/\\]/.test(name) || name === '..') throw this.error('PATH', `the name of the member ${JSON.stringify(name)} is a path`)
    if (this.#seen.has(name)) throw this.error('DUPLICATE', `the member ${name} is there twice`)
    if (byteOffset + size > this.#size) throw this.error('TRUNCATED', `it is cut off in the member ${JSON.stringify(name)}`)
    this.#seen.add(name)
    return member
  }

  /** Fails unless `member` is the one of this name, with so many bytes. */
  check(member, name, bytes) {
    if (member === undefined) throw this.error('MISSING', `the member ${name} is missing`)
    const { name: found, size } = member.header
    if (found !== name) {
      if (this.#known.size > 0 && !this.#known.has(found)) throw this.#extra(found)
      throw this.error('MISSING', `the member ${name} is missing; in its place is ${JSON.stringify(found)}`)
    }
    if (size !== bytes) throw this.error('SIZE', `the member ${name} has ${size} bytes, where there must be ${bytes}`)
    return member
  }

  #extra(name) {
    return this.error('EXTRA', `the member ${JSON.stringify(name)} is not in ${MANIFEST}`)
  }

  /** Fails unless all has been read. */
  async end() {
    const member = await this.next()
    if (member !== undefined) throw this.#extra(member.header.name)
  }

  /** Gives every chunk of `member` to `take`. */
  async each(member, take) {
    try {
      for await (const chunk of member) take(chunk)
    } catch (error) {
      this.#broken(error)
    }
  }

  async bytes(member) {
    const bytes = Buffer.allocUnsafeSlow(member.header.size)
    let at = 0
    await this.each(member, (chunk) => (at += chunk.copy(bytes, at)))
    return bytes
  }

  /** What the system says is passed on; the rest is that of tar-stream. */
  #broken(error) {
    if (error.syscall !== undefined) throw error
    if (error.message === 'Unexpected end of data') throw this.error('TRUNCATED', 'it is cut off')
    throw this.error('MALFORMED', `it is not a tar archive, or is damaged (${error.message})`)
  }

  async close() {
    this.#input.destroy()
    await this.#iterator.return()
  }
}

/** The manifest's entries, once its signature is `key`'s; without a key, unchecked. */
async function readManifest(members, file, size, key) {
  const first = await members.next()
  const length = first?.header.size
  if (first?.header.name === MANIFEST && length > MAX_MANIFEST) {
    throw members.error('TOO_LARGE', `${MANIFEST} has ${length} bytes, more than the ${MAX_MANIFEST} that are allowed`)
  }
  const bytes = await members.bytes(members.check(first, MANIFEST, length))
  let member = await members.next()
  const isSigned = member?.header.name === SIGNATURE
  if (isSigned) {
    const signature = await members.bytes(members.check(member, SIGNATURE, SIGNATURE_BYTES))
    if (key !== undefined && !verify(bytes, key, signature)) {
      throw members.error('SIGNATURE', 'it was not signed with that key, or was changed since')
    }
    member = undefined
  } else if (key !== undefined) {
    throw members.error('UNSIGNED', `it is not signed: there is no ${SIGNATURE}`)
  }
  const entries = decodeManifest(bytes, file)
  members.know(entries.flatMap((entry) => PARTS.map((part) => memberOf(entry, part))))
  const least = entries
    .flatMap((entry) => PARTS.map((part) => BLOCK + blocks(entry[part].bytes)))
    .reduce((sum, one) => sum + one, 0)
  const head = BLOCK + blocks(length) + (isSigned ? BLOCK + blocks(SIGNATURE_BYTES) : 0)
  if (size < head + least + END) {
    throw members.error(
      'TRUNCATED',
      `it has ${size} bytes, but with all that ${MANIFEST} names it would have ${head + least + END}: it is cut off`
    )
  }
  return { entries, next: member }
}

/** What becomes of each entry; an error if the manifest contradicts itself, or asks for more than the cache may hold. */
function plan(entries, members) {
  const planned = entries.map((entry) => {
    const differs = differencesOf(entry.engine)
    const { hash, wasmBytes, partition } = entry
    if (differs.length > 0) return { entry, differs }
    const { native: options } = readOptions({ partition }, 'cache.import()')
    const { key } = native.cacheExplain(hash, wasmBytes, options)
    if (key !== entry.key) {
      throw members.error('MANIFEST', `${MANIFEST} has the entry ${entry.key}, whose module, engine and partition make it ${key}`)
    }
    return { entry }
  })
  const usable = planned.filter(({ differs }) => differs === undefined)
  const bytes = usable.reduce((sum, { entry: { image, meta } }) => sum + image.bytes + meta.bytes, 0)
  const { limit } = native.cacheStats()
  // The later ones would evict the earlier.
  if (bytes > limit) {
    throw members.error('NOT_STORED', `it has ${bytes} bytes for this machine, more than the ${limit} that the cache may hold`)
  }
  return planned
}

/** Whether the cache has the very same entry. */
function isThere({ key, ...entry }) {
  const found = native.cacheRead(key)
  return found !== null && PARTS.every((part) => digest(Buffer.from(found[part])) === entry[part].sha256)
}

const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')

/** Reads and verifies one member; its bytes, if they are `kept`. */
async function readPart(members, member, { bytes, sha256 }, isKept) {
  const hash = crypto.createHash('sha256')
  const kept = isKept ? Buffer.allocUnsafeSlow(bytes) : undefined
  let at = 0
  await members.each(member, (chunk) => {
    hash.update(chunk)
    if (isKept) at += chunk.copy(kept, at)
  })
  if (hash.digest('hex') !== sha256) {
    throw members.error('DIGEST', `the member ${member.header.name} is not what ${MANIFEST} says: its SHA-256 differs`)
  }
  return kept
}

function store(entry, { image, meta }, members) {
  try {
    return native.cacheImport(entry, image, meta).path
  } catch (cause) {
    throw members.error('NOT_STORED', `the entry ${entry.key} could not be stored: ${cause.message}`, { cause })
  }
}

/**
 * @param {string} file
 * @param {import('node:crypto').KeyObject} [key] none: whatever is in it is trusted
 */
async function readArchive(file, key) {
  // Before it is opened: opening a pipe waits for its writer.
  if (!(await fs.stat(file)).isFile()) {
    throw new ArchiveError(
      'MALFORMED',
      `${file} is not a regular file: an archive cannot be read from a pipe or a device. Write it into a file first`
    )
  }
  const handle = await fs.open(file)
  try {
    const stat = await handle.stat()
    const members = new Members(handle.createReadStream({ autoClose: false, highWaterMark: CHUNK }), file, stat.size)
    try {
      return await importAll(members, file, stat.size, key)
    } finally {
      await members.close()
    }
  } finally {
    await handle.close()
  }
}

async function importAll(members, file, size, key) {
  const { entries, next } = await readManifest(members, file, size, key)
  const report = { imported: [], present: [], skipped: [] }
  let member = next
  for (const { entry, differs } of plan(entries, members)) {
    const isKept = differs === undefined && !isThere(entry)
    const parts = {}
    for (const part of PARTS) {
      const name = memberOf(entry, part)
      member = members.check(member ?? (await members.next()), name, entry[part].bytes)
      parts[part] = await readPart(members, member, entry[part], isKept)
      member = undefined
    }
    const { key: name, hash, source, partition } = entry
    const told = { key: name, hash, source, partition }
    if (differs !== undefined) report.skipped.push({ ...told, reason: reasonOf(differs), differs })
    else if (isKept) report.imported.push({ ...told, path: store(entry, parts, members) })
    else report.present.push(told)
  }
  await members.end()
  return report
}

module.exports = { readArchive }
