'use strict'
// node remote-defects.js <job in JSON>: compiles a module in one partition after the other, whose objects in the shared folder are
// damaged in all ways, and prints what became of them. Every twentieth is whole.

const { subscribe } = require('node:diagnostics_channel')
const fs = require('node:fs')
const path = require('node:path')

const W = require('../../index.js')
const { load } = require('../../dist/engine.js')
const { close, open } = require('../support/remote.js')
const newRandom = require('./random.js')

const { seed, cases, file, right, good, other, keys, stranger } = JSON.parse(process.argv[2])
const random = newRandom(seed)
const { native } = load('process/native.js')
const { readOptions } = load('compile/options.js')

const bytes = fs.readFileSync(file)
const hash = native.hashOf(bytes)
const parts = open(fs.readFileSync(good))
const others = open(fs.readFileSync(other))
const place = path.dirname(good)

const flip = (buffer, at) => {
  const changed = Buffer.from(buffer)
  changed[at] ^= 1 << random(8)
  return changed
}
const signed = (manifest, payload = parts.payload) => close({ manifest, payload }, keys)

/** [what it is called, the reason it must have, what it makes of a manifest that is right for the partition] */
const DEFECTS = [
  ['a byte', /^(magic|truncated|signature|digest|manifest)/, (m) => flip(signed(m), random(signed(m).length))],
  ['a byte of the head', /^(magic|truncated|signature|manifest)/, (m) => flip(signed(m), random(32))],
  ['a byte of the manifest', /^signature/, (m) => flip(signed(m), 32 + random(200))],
  ['cut off', /^(magic|truncated|signature|digest)/, (m) => signed(m).subarray(0, random(signed(m).length))],
  ['empty', /^magic/, () => Buffer.alloc(0)],
  ['longer', /^digest/, (m) => Buffer.concat([signed(m), Buffer.alloc(1 + random(100))])],
  ['noise', /^magic/, () => Buffer.from(Array.from({ length: 1000 }, () => random(256)))],
  ['unsigned', /^unsigned/, (m) => close({ manifest: m, payload: parts.payload })],
  ["a stranger's", /^signature/, (m) => close({ manifest: m, payload: parts.payload }, stranger)],
  [
    "the right one's signature",
    /^signature/,
    (m) => close({ manifest: { ...m, created: m.created + 1 }, payload: parts.payload }, parts),
  ],
  ['as it was for another partition', /^wrong-key/, () => fs.readFileSync(good)],
  ["another module's", /^wrong-key/, () => fs.readFileSync(other)],
  ["another module's bytes", /^digest/, (m) => signed(m, others.payload)],
  ["another module's, under this key", /^wrong-key/, (m) => signed({ ...others.manifest, key: m.key }, others.payload)],
  ["another module's hash", /^wrong-key/, (m) => signed({ ...m, hash: others.manifest.hash })],
  [
    'an older package, under this key',
    /^other-engine: package/,
    (m) => signed({ ...m, engine: { ...m.engine, package: '0.0.9' } }),
  ],
  ['another processor, under this key', /^other-engine: cpu/, (m) => signed({ ...m, engine: { ...m.engine, cpu: 'avx512f' } })],
  ['no engine', /^other-engine/, (m) => signed({ ...m, engine: {} })],
  ['an image that is too short', /^(length|packing|load)/, (m) => signed({ ...m, imageBytes: m.imageBytes - 1 - random(1000) })],
  ['an image that is too long', /^length/, (m) => signed({ ...m, imageBytes: m.imageBytes + m.metaBytes + 1 + random(1000) })],
  ['an image without end', /^too-large/, (m) => signed({ ...m, imageBytes: 2 ** 40 })],
  ['metadata without end', /^too-large/, (m) => signed({ ...m, metaBytes: 2 ** 40 })],
  ['no JSON', /^manifest/, () => signed(Buffer.from('{'))],
  ['no object', /^manifest/, () => signed(Buffer.from('null'))],
  ['another type', /^manifest/, (m) => signed({ ...m, type: 'wasm-compile-cache' })],
  ['no digest', /^manifest/, ({ digest: _, ...m }) => signed(m)],
  ['a digest of other bytes', /^digest/, (m) => signed({ ...m, digest: others.manifest.digest })],
]

const told = { refused: 0, taken: 0, wrong: [], reasons: {} }
let events = []
for (const name of ['remoteHit', 'remoteInvalid', 'remoteMiss', 'remoteFailed', 'optimizedReady']) {
  subscribe(`wasm-compile-cache:${name}`, (event) => events.push(event))
}

async function tryOne(index, name, reason, make) {
  const partition = `partition ${index}`
  const { native: options } = readOptions({ partition, minSize: 0 }, 'test')
  const { key } = native.cacheExplain(hash, bytes.length, options)
  fs.writeFileSync(path.join(place, key), make({ ...parts.manifest, partition, key }))
  events = []
  const module = await W.compile(bytes, { partition, minSize: 0 })
  await W.Module.optimized(module)
  await W.cache.flush()
  const { exports } = await W.instantiate(module, { env: { tick: (x) => x + 1 } })
  const result = exports.run(20)
  const hit = events.some((event) => event.name === 'remoteHit')
  const invalid = events.find((event) => event.name === 'remoteInvalid')?.reason
  const isRight = result === right && (reason === undefined ? hit && invalid === undefined : !hit && reason.test(invalid ?? ''))
  if (!isRight) told.wrong.push({ name, invalid, hit, result })
  else if (reason === undefined) told.taken++
  else told.refused++
  if (invalid !== undefined) {
    const [word] = invalid.split(':')
    told.reasons[word] = (told.reasons[word] ?? 0) + 1
  }
}

async function main() {
  for (let index = 0; index < cases; index++) {
    if (index % 20 === 0) await tryOne(`whole ${index}`, 'whole', undefined, signed)
    await tryOne(index, ...DEFECTS[index % DEFECTS.length])
  }
  console.log(JSON.stringify(told))
}

main()
