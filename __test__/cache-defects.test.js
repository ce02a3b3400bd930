'use strict'
// Artifacts that are not what was stored: the program's results are right, the defect is told, and a good artifact takes
// the place of the bad one.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')
const { COLD, HOT, entries, environment, files, folder, litter, named, run, story } = require('./support/commands.js')
const { answer, machine } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const ROOT = process.getuid?.() === 0
const CALLS = [
  ['run', 9],
  ['run', -1],
]
const FOOTER = 128 // bytes at the end of an artifact (crates/store/src/footer.rs)

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-modules-'))
test.after.always(() => remove(root))
const file = path.join(root, 'machine.wasm')
const other = path.join(root, 'other.wasm')

let expected
test.before(async () => {
  const bytes = await machine()
  fs.writeFileSync(file, bytes)
  fs.writeFileSync(other, await answer(7))
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { tick: (x) => x + 1 } })
  expected = CALLS.map(([name, ...parameters]) => exports[name](...parameters))
})

async function compile(t, cache, as = 'bytes') {
  const ended = await run({ modules: [{ file, as, options: { minSize: 0 }, calls: CALLS }] }, { cache })
  t.deepEqual(ended.modules[0].results, expected)
  return ended
}

/** A cache in which the machine is, and the path of its artifact. */
async function filled(t) {
  const cache = folder(t)
  t.deepEqual(story(await compile(t, cache)), COLD)
  const [entry] = entries(cache)
  return { cache, entry }
}

/** Flips a bit of the byte at `at`; negative: from the end. */
function flip(entry, at) {
  const bytes = fs.readFileSync(entry)
  bytes[at < 0 ? bytes.length + at : at] ^= 1
  fs.writeFileSync(entry, bytes)
}

const shortened = (entry, by) => fs.truncateSync(entry, fs.statSync(entry).size - by)
const size = (entry) => fs.statSync(entry).size

/** Where the image ends and the metadata begins. */
function metadata(entry) {
  const footer = fs.readFileSync(entry).subarray(-FOOTER)
  const [image, meta] = [footer.readBigUInt64LE(80), footer.readBigUInt64LE(88)].map(Number)
  if (image + meta + footer.readUInt32LE(12) + FOOTER !== size(entry) || meta === 0) {
    throw new Error('not the footer that crates/store/src/footer.rs describes')
  }
  return image
}

/** Puts the artifact of another module there. */
async function replaceByOther(entry, { cache }) {
  await run({ modules: [{ file: other, options: { minSize: 0 } }] }, { cache })
  const [theirs] = entries(cache).filter((name) => name !== entry)
  fs.renameSync(theirs, entry)
}

function replaceByLink(entry) {
  fs.renameSync(entry, `${entry}-aside`)
  fs.symlinkSync(`${entry}-aside`, entry)
}

function replaceByFolder(entry) {
  fs.rmSync(entry)
  fs.mkdirSync(entry)
}

function otherKey(_, { cache }) {
  const key = path.join(cache, 'seal.key')
  const bytes = fs.readFileSync(key)
  bytes[0] ^= 1
  fs.writeFileSync(key, bytes)
}

const defects = [
  ['cut in half', (entry) => shortened(entry, Math.floor(size(entry) / 2)), 'bad-magic'],
  ['without its last byte', (entry) => shortened(entry, 1), 'bad-magic'],
  ['without its first byte', (entry) => fs.writeFileSync(entry, fs.readFileSync(entry).subarray(1)), 'truncated'],
  ['shorter than a footer', (entry) => shortened(entry, size(entry) - FOOTER + 1), 'truncated'],
  ['empty', (entry) => fs.truncateSync(entry), 'truncated'],
  ['one byte longer', (entry) => fs.appendFileSync(entry, '\0'), 'bad-magic'],
  ['with another bit at the beginning of its image', (entry) => flip(entry, 0), 'seal-mismatch'],
  ['with another bit within its image', (entry) => flip(entry, metadata(entry) >> 1), 'seal-mismatch'],
  ['with another bit in its metadata', (entry) => flip(entry, metadata(entry)), 'seal-mismatch'],
  ['with another bit in its label', (entry) => flip(entry, -FOOTER - 1), 'seal-mismatch'],
  ['with another length of its label', (entry) => flip(entry, 12 - FOOTER), 'truncated'],
  ['with another magic', (entry) => flip(entry, -FOOTER), 'bad-magic'],
  ['with another version', (entry) => flip(entry, 8 - FOOTER), 'wrong-version'],
  ['with another key', (entry) => flip(entry, 16 - FOOTER), 'wrong-key'],
  ['with another module', (entry) => flip(entry, 48 - FOOTER), 'wrong-module'],
  ['with another length of its image', (entry) => flip(entry, 80 - FOOTER), 'truncated'],
  ['with another length of its metadata', (entry) => flip(entry, 88 - FOOTER), 'truncated'],
  ['with another seal', (entry) => flip(entry, -1), 'seal-mismatch'],
  ["that is another module's", replaceByOther, 'wrong-key'],
  ['that is a symbolic link to a good one', replaceByLink, 'not-regular'],
  ['that is a folder', replaceByFolder, 'not-regular'],
  ['that others may write to', (entry) => fs.chmodSync(entry, 0o622), 'unsafe-mode'],
  ['sealed with another key', otherKey, 'seal-mismatch'],
  ['sealed with a key that is gone', (_, { cache }) => fs.rmSync(path.join(cache, 'seal.key')), 'seal-mismatch'],
  [
    'sealed with a key that others could read',
    (_, { cache }) => fs.chmodSync(path.join(cache, 'seal.key'), 0o644),
    'seal-mismatch',
  ],
]

for (const [name, damage, reason] of defects) {
  test.serial(`an artifact ${name} is refused and replaced`, async (t) => {
    const { cache, entry } = await filled(t)
    await damage(entry, { cache })
    const ended = await compile(t, cache)
    t.deepEqual(story(ended), ['moduleCacheInvalid', ...COLD])
    const [{ hash }] = named(ended, 'cachedModule')
    t.like(named(ended, 'moduleCacheInvalid')[0], { reason, hash, source: '' })
    const status = fs.lstatSync(entry)
    t.true(status.isFile())
    t.is(status.mode & 0o7777, 0o600)
    t.deepEqual(entries(cache), [entry])
    t.deepEqual(litter(cache), [])
    t.deepEqual(story(await compile(t, cache)), HOT)
  })
}

for (const as of ['sync', 'response', 'file']) {
  test.serial(`a damaged artifact is refused and replaced: ${as}`, async (t) => {
    const { cache, entry } = await filled(t)
    flip(entry, metadata(entry) >> 1)
    const ended = await compile(t, cache, as)
    t.deepEqual(story(ended), ['moduleCacheInvalid', ...COLD])
    t.is(named(ended, 'moduleCacheInvalid')[0].reason, 'seal-mismatch')
    t.deepEqual(story(await compile(t, cache, as)), HOT)
  })
}

/** Puts another image or metadata into an artifact, sealed as if it were what was compiled. */
function sealed(cache, entry, change) {
  const at = metadata(entry)
  const bytes = fs.readFileSync(entry)
  const length = Number(bytes.subarray(-FOOTER).readBigUInt64LE(88))
  const parts = { image: bytes.subarray(0, at), meta: bytes.subarray(at, at + length) }
  const { image, meta } = { ...parts, ...change(parts) }
  const code = `
    const { native } = require(${JSON.stringify(path.join(__dirname, '../dist/engine.js'))}).load('process/native.js')
    const [image, meta] = process.argv.slice(1).map((text) => Buffer.from(text, 'base64'))
    const [item] = native.cacheEntries()
    native.cacheImport({ ...item, head: item.head ?? '' }, image, meta)`
  const argv = ['-e', code, ...[image, meta].map((part) => part.toString('base64'))]
  execFileSync(process.execPath, argv, { env: environment({ WASM_COMPILE_CACHE: cache }) })
}

for (const [name, change, reason] of [
  ['image is none', () => ({ image: Buffer.from('nothing') }), /^load: /],
  ['image is half of one', ({ image }) => ({ image: image.subarray(0, image.length >> 1) }), /^load: /],
  ['metadata is none', () => ({ meta: Buffer.from('x') }), /^metadata$/],
]) {
  test.serial(`an artifact that carries the seal and whose ${name} is evicted`, async (t) => {
    const { cache, entry } = await filled(t)
    sealed(cache, entry, change)
    const options = { minSize: 0, optimize: false }
    const ended = await run({ modules: [{ file, options, calls: CALLS }], end: 'return' }, { cache })
    t.deepEqual(ended.modules[0].results, expected)
    t.deepEqual(story(ended), ['moduleCacheInvalid', 'baselineReady'])
    t.regex(named(ended, 'moduleCacheInvalid')[0].reason, reason)
    t.deepEqual(entries(cache), [])
    t.deepEqual(story(await compile(t, cache)), COLD)
  })
}

test.serial('an artifact of another user is refused and replaced', async (t) => {
  if (!ROOT) {
    t.log(`user ${process.getuid?.()} cannot give a file to another: only root can`)
    const { entry } = await filled(t)
    t.true(['EPERM', 'ENOSYS'].includes(t.throws(() => fs.chownSync(entry, 12345, 12345)).code))
    return
  }
  const { cache, entry } = await filled(t)
  fs.chownSync(entry, 12345, 12345)
  const ended = await compile(t, cache)
  t.deepEqual(story(ended), ['moduleCacheInvalid', ...COLD])
  t.is(named(ended, 'moduleCacheInvalid')[0].reason, 'wrong-owner')
  t.is(fs.statSync(entry).uid, 0)
  t.deepEqual(story(await compile(t, cache)), HOT)
})

test.serial('a folder in the place of an artifact that is not empty is left alone, and told', async (t) => {
  const { cache, entry } = await filled(t)
  replaceByFolder(entry)
  fs.writeFileSync(path.join(entry, 'precious'), 'x')
  const ended = await compile(t, cache)
  // The optimizing tier looks again before it begins: another process may have been faster.
  t.deepEqual(story(ended), ['moduleCacheInvalid', 'baselineReady', 'moduleCacheInvalid', 'cacheWriteFailed', 'optimizedReady'])
  t.like(named(ended, 'cacheWriteFailed')[0], { code: 'ERR_WASM_CACHE_WRITE', path: entry })
  t.deepEqual(fs.readdirSync(entry), ['precious'])
  t.deepEqual(litter(cache), [])
})

test.serial('read-only, a defect is told and the artifact is not replaced', async (t) => {
  const { cache, entry } = await filled(t)
  flip(entry, 0)
  const options = { minSize: 0, cache: 'read-only' }
  const ended = await run({ modules: [{ file, options, calls: CALLS }] }, { cache })
  t.deepEqual(ended.modules[0].results, expected)
  t.deepEqual(story(ended), ['moduleCacheInvalid', 'baselineReady', 'optimizedReady'])
  t.deepEqual(story(await compile(t, cache)).at(-2), 'cachedModule')
})

test.serial('notes beside an artifact are not needed, and cannot make a bad one good', async (t) => {
  const { cache, entry } = await filled(t)
  const notes = () =>
    files(cache)
      .filter((name) => name.endsWith('.ok'))
      .map((name) => path.join(cache, name))
  t.is(notes().length, 1)
  for (const damage of [(note) => fs.rmSync(note), (note) => fs.truncateSync(note), (note) => flip(note, 0)]) {
    damage(notes()[0])
    t.deepEqual(story(await compile(t, cache)), HOT)
    t.is(notes().length, 1, 'it is written again')
  }
  const { atime, mtime } = fs.statSync(entry)
  flip(entry, 0)
  fs.utimesSync(entry, atime, mtime)
  t.deepEqual(story(await compile(t, cache)), ['moduleCacheInvalid', ...COLD])
})

test.serial('a damaged record of a file: source counts for nothing', async (t) => {
  const { cache } = await filled(t)
  while (Date.now() - fs.statSync(file).ctimeMs < 2100) await new Promise((resolve) => setTimeout(resolve, 50))
  t.deepEqual(story(await compile(t, cache, 'file')), HOT)
  const [record] = files(cache)
    .filter((name) => /stat\/./.test(name))
    .map((name) => path.join(cache, name))
  const good = fs.readFileSync(record)
  for (let at = 0; at < good.length; at += 24) {
    fs.writeFileSync(record, good)
    flip(record, at)
    t.deepEqual(story(await compile(t, cache, 'file')), HOT, `byte ${at}`)
  }
})
