'use strict'
// A cache with two entries, and archives of them, for tests of what is imported.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { cache, compile, Module } = require('../..')
const { native } = require('../../dist/engine.js').load('process/native.js')
const { keyPair } = require('./archives.js')
const { remove } = require('./remove.js')
const { answer, machine } = require('./wat.js')

/**
 * For as long as the tests of the caller's file run: archives in a folder for its files, and keys. Each test begins with an
 * empty cache.
 */
function subject(test) {
  const at = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-archive-'))
  const within = (name) => path.join(at, name)
  /** The keys that sign, and others. */
  const [keys, others] = [keyPair(at), keyPair(at)]
  /** An archive of one entry, and one of two, the other one in the partition "p"; signed. Not to be changed. */
  const [one, two] = [within('one.tar'), within('two.tar')]
  /** What native.cacheRead says of each, by key. */
  const originals = new Map()

  test.before(async () => {
    await Module.optimized(await compile(await machine(), { minSize: 0 }))
    await Module.optimized(await compile(await answer(42), { minSize: 0, partition: 'p' }))
    await cache.flush()
    await cache.export(one, { partition: '', sign: keys.privateKey })
    await cache.export(two, { sign: keys.privateKey })
    for (const { key } of cache.entries()) originals.set(key, native.cacheRead(key))
  })
  test.after.always(() => remove(at))
  test.beforeEach(() => cache.clear())

  const signed = () => ({ key: keys.publicKey })

  /** What is in the cache has to be what was exported. */
  function onlyOriginals(t, message) {
    const entries = cache.entries()
    for (const { key, partition } of entries) {
      const [found, original] = [native.cacheRead(key), originals.get(key)]
      t.not(original, undefined, message)
      t.is(found.hash, original.hash, message)
      t.is(partition, original.partition, message)
      for (const part of ['image', 'meta']) t.true(Buffer.from(found[part]).equals(Buffer.from(original[part])), message)
    }
    return entries.length
  }

  async function refused(t, code, file, options = signed()) {
    const error = await t.throwsAsync(cache.import(file, options))
    t.is(error.code, `ERR_WASM_ARCHIVE_${code}`, error.message)
    t.true(error.message.includes(file), error.message)
    t.is(error.name, 'Error')
    return error
  }

  return { at, keys, one, onlyOriginals, originals, others, refused, signed, two, within }
}

module.exports = { subject }
