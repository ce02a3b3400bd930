'use strict'

// From the cache into an archive.
//
// Promise: the archive is whole as soon as it has its name; whatever fails leaves no other file. Only a regular file is
// replaced. Two entries are in memory at the most: the one that is being written, and the next.

const crypto = require('node:crypto')
const fs = require('node:fs/promises')
const { lstatSync, realpathSync, statSync } = require('node:fs')
const path = require('node:path')
const { setImmediate: turn } = require('node:timers/promises')
const tar = require('tar-stream')

const { version } = require('../../../package.json')
const { native } = require('../../process/native.js')
const { ArchiveError } = require('./error.js')
const { sign } = require('./keys.js')
const { MANIFEST, MAX_MANIFEST, PARTS, SIGNATURE, encodeManifest, memberOf, shareable } = require('./manifest.js')

// The same entries make the same archive, at any time and for any user.
const HEADER = { type: 'file', mode: 0o644, mtime: new Date(0) }

const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')

const partOf = (found, part) => {
  const bytes = Buffer.from(found[part])
  return { bytes: bytes.length, sha256: digest(bytes) }
}

/** What the manifest says of the entry `key`; null if it is damaged. */
function describe(key) {
  const found = native.cacheRead(key)
  if (found === null) return null
  const { hash, partition, engine, wasmBytes, created, head } = found
  const source = shareable(found.source)
  return {
    key,
    hash,
    partition,
    source,
    engine,
    wasmBytes,
    created,
    head,
    image: partOf(found, 'image'),
    meta: partOf(found, 'meta'),
  }
}

/** The members of `entry`; they must be what the manifest says. */
function membersOf(entry) {
  const found = native.cacheRead(entry.key)
  return PARTS.map((part) => {
    const bytes = found === null ? undefined : Buffer.from(found[part])
    if (bytes === undefined || digest(bytes) !== entry[part].sha256) {
      throw new ArchiveError('CHANGED', `the entry ${entry.key} was removed or replaced while it was exported: try again`)
    }
    return [memberOf(entry, part), bytes]
  })
}

/** Resolves when the member is on its way to the disk. */
const add = (pack, name, bytes) =>
  new Promise((resolve, reject) => {
    pack.entry({ ...HEADER, name }, bytes, (error) => (error ? reject(error) : resolve()))
  })

async function fill(pack, manifest, entries, key) {
  await add(pack, MANIFEST, manifest)
  if (key !== undefined) await add(pack, SIGNATURE, sign(manifest, key))
  for (const entry of entries) {
    for (const [name, bytes] of membersOf(entry)) await add(pack, name, bytes)
  }
  pack.finalize()
}

/** The bytes of the archive. */
async function* packed(manifest, entries, key) {
  const pack = tar.pack()
  fill(pack, manifest, entries, key).catch((error) => pack.destroy(error))
  yield* pack
}

/** What the system says of a temporary file, said of the one that was asked for. */
function unwritable(file, cause) {
  const [reason] = cause.message.split(', ', 1)
  return Object.assign(new Error(`${file} cannot be written: ${reason}`, { cause }), { code: cause.code })
}

/** The file to make or to replace, which is the one behind a link; an error for what is no file. */
function targetOf(file) {
  const known = (stat) => stat(file, { throwIfNoEntry: false })
  try {
    if (known(lstatSync) === undefined) return path.join(realpathSync(path.dirname(file)), path.basename(file))
    const stat = known(statSync)
    if (stat === undefined) throw new ArchiveError('TARGET', `${file} is a link that leads nowhere`)
    if (stat.isFile()) return realpathSync(file)
    const what = stat.isDirectory() ? 'is a folder' : 'is not a regular file: an archive cannot be written to a pipe or a device'
    throw new ArchiveError('TARGET', `${file} ${what}`)
  } catch (error) {
    throw error instanceof ArchiveError ? error : unwritable(file, error)
  }
}

/** Writes `chunks` to `target`; how many bytes that were. `file` is what the user calls it. */
async function put(target, file, chunks) {
  const temporary = `${target}.${crypto.randomBytes(6).toString('hex')}.tmp`
  const handle = await fs.open(temporary, 'wx').catch((error) => {
    throw unwritable(file, error)
  })
  let size
  try {
    try {
      for await (const chunk of chunks) await handle.writeFile(chunk)
      await handle.sync()
      size = (await handle.stat()).size
    } finally {
      await handle.close()
    }
    await fs.rename(temporary, target)
    return size
  } catch (error) {
    await fs.rm(temporary, { force: true })
    throw error.syscall === undefined ? error : unwritable(file, error)
  }
}

/** V8's code is found by verdicts, which no archive has, and made by a run of the program. */
const isOfV8 = (engine) => engine.engine === 'v8'

const MEND = '`npx wasm-compile-cache verify` quarantines damaged entries'

/**
 * @param {string} file
 * @param {{key: string}[]} chosen the entries; V8's code among them is left out
 * @param {object} options
 * @param {import('node:crypto').KeyObject} [options.signer]
 * @param {boolean} options.isExact whether an entry that is damaged, or gone, is an error
 * @returns {Promise<{entries: object[], damaged: object[], bytes: number}>} as in the manifest; of the chosen
 */
async function writeArchive(file, chosen, { signer, isExact }) {
  const target = targetOf(file)
  const [entries, damaged] = [[], []]
  for (const one of [...chosen].sort((a, b) => (a.key < b.key ? -1 : 1))) {
    const entry = describe(one.key)
    if (entry !== null) {
      if (!isOfV8(entry.engine)) entries.push(entry)
    } else if (isExact) {
      throw new ArchiveError('NO_ENTRY', `the cache has no intact entry ${one.key} for this version of the package: ${MEND}`)
    } else damaged.push(one)
    await turn()
  }
  if (entries.length === 0) {
    const why = damaged.length === 0 ? '`npx wasm-compile-cache ls` shows what is cached' : MEND
    throw new ArchiveError(
      'NO_ENTRY',
      `${file} is not written: the cache has nothing of that kind for this version of the package. ${why}`
    )
  }
  const manifest = encodeManifest(entries, version)
  if (manifest.length > MAX_MANIFEST) {
    throw new ArchiveError('TOO_LARGE', `${file}: ${entries.length} entries are too many for one archive: export them by partition`)
  }
  return { entries, damaged, bytes: await put(target, file, packed(manifest, entries, signer)) }
}

module.exports = { writeArchive }
