'use strict'
// Hundreds of damaged artifacts, as a program meets them: each is told with its reason, none runs, the results are right.
// (crates/store/tests/store/corruption.rs deals thousands of damages and every length, and asks the store alone.)
//
// One process compiles one module for many partitions, which gives as many artifacts; the next ones find all of them
// damaged. They do not optimize, so nothing is stored, and all that runs was compiled in them.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')
const { entries, files, folder, litter, named, run } = require('./support/commands.js')
const { machine } = require('./support/wat.js')
const { remove } = require('./support/remove.js')

const CALLS = [
  ['run', 9],
  ['run', -1],
]
const FOOTER = 128 // bytes at the end of an artifact (crates/store/src/footer.rs)
const FIELDS = [0, 8, 12, 16, 48, 80, 88, 96, 127] // of the footer
const PAGE = 4096
const ARTIFACTS = 96
const ROUNDS = ['bytes', 'sync', 'response', 'stream', 'bytes']

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-modules-'))
test.after.always(() => remove(root))
const file = path.join(root, 'machine.wasm')

let expected
test.before(async () => {
  const bytes = await machine()
  fs.writeFileSync(file, bytes)
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { tick: (x) => x + 1 } })
  expected = CALLS.map(([name, ...parameters]) => exports[name](...parameters))
})

/** Compiles the module once a partition, and checks what each gives. */
async function compileAll(t, cache, { as = 'bytes', optimize = false } = {}) {
  const modules = Array.from({ length: ARTIFACTS }, (_, index) => ({
    file,
    as,
    calls: CALLS,
    options: { minSize: 0, partition: `partition ${index}`, optimize },
  }))
  const ended = await run({ modules }, { cache })
  t.is(ended.modules.length, ARTIFACTS)
  for (const [index, { results }] of ended.modules.entries()) t.deepEqual(results, expected, `partition ${index}`)
  return ended
}

/** A cache with an artifact a partition: their paths and bytes, in the order in which `compileAll` looks them up. */
async function filled(t) {
  const cache = folder(t)
  const ended = await compileAll(t, cache, { optimize: true })
  const paths = named(ended, 'cachedModule').map((event) => event.path)
  t.is(new Set(paths).size, ARTIFACTS)
  t.deepEqual(entries(cache).sort(), [...paths].sort())
  t.is(files(cache).filter((name) => name.endsWith('.ok')).length, ARTIFACTS, 'each is noted as verified')
  const hot = await compileAll(t, cache)
  t.deepEqual(
    named(hot, 'moduleCacheHit').map((event) => event.path),
    paths,
    'the order is that of the partitions'
  )
  return { cache, artifacts: paths.map((name) => ({ path: name, bytes: fs.readFileSync(name) })) }
}

/** Writes `bytes` over an artifact, where it is, and puts its time back: the note beside it looks as if it still held. */
function overwrite({ path: name }, bytes) {
  if (!fs.existsSync(name)) {
    fs.writeFileSync(name, bytes, { mode: 0o600 })
    return
  }
  const { atime, mtime } = fs.statSync(name)
  fs.writeFileSync(name, bytes)
  fs.utimesSync(name, atime, mtime)
}

/** Lengths at which one part of the file ends, and one less and one more, and every page. */
function boundaries(bytes) {
  const footer = bytes.length - FOOTER
  const image = Number(bytes.readBigUInt64LE(footer + 80))
  const meta = Number(bytes.readBigUInt64LE(footer + 88))
  const ends = [0, 64, FOOTER, image, image + meta, bytes.length, ...FIELDS.map((field) => footer + field)]
  for (let page = PAGE; page < bytes.length; page += PAGE) ends.push(page)
  const all = ends.flatMap((end) => [end - 1, end, end + 1]).filter((length) => length >= 0 && length < bytes.length)
  return [...new Set(all)]
}

/** mulberry32: the same damages in each run. */
function random(seed) {
  return (end) => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end
  }
}

const DAMAGES = {
  'a bit flipped': (bytes, below) => {
    bytes[below(bytes.length)] ^= 1 << below(8)
    return bytes
  },
  'a bit of the footer flipped': (bytes, below) => {
    bytes[bytes.length - 1 - below(FOOTER)] ^= 1 << below(8)
    return bytes
  },
  'bytes overwritten': (bytes, below) => {
    const at = below(bytes.length - 64)
    for (let offset = 0; offset < 64; offset++) bytes[at + offset] ^= 1 + below(255)
    return bytes
  },
  'two blocks exchanged': (bytes, below) => {
    const half = bytes.length >> 1
    const [length, first] = [1 + below(half >> 1), below(half >> 1)]
    const second = half + below(half - length)
    const block = Buffer.from(bytes.subarray(first, first + length))
    bytes.copy(bytes, first, second, second + length)
    block.copy(bytes, second)
    return bytes
  },
  'zeros from a page to the end': (bytes, below) => bytes.fill(0, below(Math.floor(bytes.length / PAGE)) * PAGE),
  'its tail twice': (bytes, below) => Buffer.concat([bytes, bytes.subarray(below(bytes.length))]),
  'a part missing': (bytes, below) => {
    const at = below(bytes.length - 1)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(bytes.length - at - 1))])
  },
  "another partition's": (bytes, below, other) => other,
  "begun as itself and ended as another partition's": (bytes, below, other) => {
    const at = below(bytes.length)
    return Buffer.concat([bytes.subarray(0, at), other.subarray(at)])
  },
}
const REASONS = ['truncated', 'bad-magic', 'wrong-version', 'wrong-key', 'wrong-module', 'seal-mismatch']

/** Checks that every artifact was refused, in order; the reasons. */
function refused(t, ended) {
  t.deepEqual(named(ended, 'moduleCacheHit'), [])
  const events = named(ended, 'moduleCacheInvalid')
  t.is(events.length, ARTIFACTS)
  t.true(ended.modules.every(({ tier }) => tier === 'baseline'))
  return events.map(({ reason }) => reason)
}

test('artifacts that were cut off where a part ends, or were damaged, are refused', async (t) => {
  const { cache, artifacts } = await filled(t)

  const lengths = boundaries(artifacts[0].bytes)
  t.true(lengths.length >= 40)
  for (let from = 0; from < lengths.length; from += ARTIFACTS) {
    const cut = artifacts.map((_, index) => lengths[(from + index) % lengths.length])
    for (const [index, artifact] of artifacts.entries()) overwrite(artifact, artifact.bytes.subarray(0, cut[index]))
    const reasons = refused(t, await compileAll(t, cache))
    t.deepEqual(
      reasons,
      cut.map((length) => (length < FOOTER ? 'truncated' : 'bad-magic'))
    )
  }

  const below = random(4)
  const counts = {}
  for (const as of ROUNDS) {
    const dealt = artifacts.map((artifact, index) => {
      const names = Object.keys(DAMAGES)
      const name = names[below(names.length)]
      const other = artifacts[(index + 1) % ARTIFACTS].bytes
      const bytes = DAMAGES[name](Buffer.from(artifact.bytes), below, other)
      if (bytes.equals(artifact.bytes)) bytes[0] ^= 1
      overwrite(artifact, bytes)
      return name
    })
    for (const [index, reason] of refused(t, await compileAll(t, cache, { as })).entries()) {
      t.true(REASONS.includes(reason), `${dealt[index]}: ${reason}`)
      counts[`${dealt[index]}: ${reason}`] = (counts[`${dealt[index]}: ${reason}`] ?? 0) + 1
    }
  }
  t.log(counts)
  t.deepEqual(litter(cache), [])

  // As soon as they may be stored again, good ones take the place of all.
  for (const [index, artifact] of artifacts.entries()) {
    overwrite(artifact, DAMAGES['a bit flipped'](Buffer.from(artifact.bytes), below, index))
  }
  const again = await compileAll(t, cache, { optimize: true })
  t.is(named(again, 'moduleCacheInvalid').length, ARTIFACTS)
  t.is(named(again, 'cachedModule').length, ARTIFACTS)
  const hot = await compileAll(t, cache)
  t.deepEqual(
    named(hot, 'moduleCacheHit').map((event) => event.path),
    artifacts.map(({ path: name }) => name)
  )
})
