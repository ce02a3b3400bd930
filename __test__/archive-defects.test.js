'use strict'
// Archives that are not what was exported: damaged, cut off, forged, or none at all. Each is refused, with a reason, and nothing
// is stored that was not exported.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { cache } = require('..')
const { forge, pack, unpack } = require('./support/archives.js')
const { folder, litter } = require('./support/commands.js')
const { subject } = require('./support/exported.js')

const CACHE = process.env.WASM_COMPILE_CACHE

const { at, keys, one, onlyOriginals, originals, refused, signed, two, within } = subject(test)

// ── What is in it ───────────────────────────────────────────────────────────────────────────────────────────────────

/** Packs the members of `two` after `change` and expects the import to fail, signed or trusted. */
async function refusedWith(t, code, message, change) {
  const members = await unpack(two)
  const file = await pack(path.join(folder(t), 'changed.tar'), change(members) ?? members)
  for (const options of [signed(), { trust: true }]) {
    const error = await refused(t, code, file, options)
    t.regex(error.message, message)
    onlyOriginals(t)
  }
}

const ZEROS = '0'.repeat(64)

test.serial('members that are missing, extra, twice there, at another place or of another kind', async (t) => {
  const image = `${[...originals.keys()].sort()[1]}.image`
  await refusedWith(t, 'MISSING', /manifest\.json is missing/, (all) => all.slice(1))
  await refusedWith(t, 'MISSING', /manifest\.json is missing/, () => [])
  await refusedWith(t, 'TRUNCATED', /it is cut off/, (all) => all.slice(0, -1))
  // Where bytes follow the end, as with tar's blocking factor, only looking tells.
  const padded = path.join(folder(t), 'padded.tar')
  await pack(padded, (await unpack(two)).slice(0, -1))
  fs.appendFileSync(padded, Buffer.alloc(8192))
  t.regex((await refused(t, 'MISSING', padded)).message, /\.meta is missing$/)
  await refusedWith(t, 'MISSING', new RegExp(`${image} is missing; in its place is `), (all) => [
    ...all.slice(0, 4),
    all[5],
    all[4],
  ])
  await refusedWith(t, 'EXTRA', /"extra" is not in manifest\.json/, (all) => [...all, { name: 'extra', bytes: Buffer.from('x') }])
  await refusedWith(t, 'EXTRA', /"extra" is not in manifest\.json/, (all) => [
    ...all.slice(0, 3),
    { name: 'extra', bytes: Buffer.from('x') },
    ...all.slice(3),
  ])
  await refusedWith(t, 'EXTRA', new RegExp(`"${ZEROS}\\.image"`), (all) => [
    ...all,
    { name: `${ZEROS}.image`, bytes: Buffer.from('x') },
  ])
  for (const name of ['manifest.json', 'manifest.sig', image]) {
    await refusedWith(t, 'DUPLICATE', new RegExp(`${name} is there twice`), (all) => [
      ...all,
      all.find((member) => member.name === name),
    ])
  }
  for (const [type, more] of [
    ['symlink', { linkname: '/etc/passwd' }],
    ['directory'],
    ['fifo'],
    ['character-device'],
    ['link', { linkname: 'manifest.json' }],
  ]) {
    const kind = type === 'link' ? /link/ : new RegExp(type)
    await refusedWith(t, 'EXTRA', kind, (all) =>
      all.flatMap((member) => (member.name === image ? [{ name: image, type, ...more }, member] : [member]))
    )
  }
})

test.serial('names that are paths', async (t) => {
  for (const name of ['../manifest.json', '/manifest.json', './manifest.json', 'a/manifest.json', '..', 'C:\\manifest.json']) {
    await refusedWith(t, 'PATH', /is a path/, ([first, ...rest]) => [{ ...first, name }, ...rest])
    await refusedWith(t, 'PATH', /is a path/, (all) => [...all, { name, bytes: Buffer.from('x') }])
  }
  const long = `${'x/'.repeat(150)}x`
  await refusedWith(t, 'PATH', /is a path/, (all) => [...all, { name: long, bytes: Buffer.from('x') }])
  // Of tar's extensions: the name in a header before.
  await refusedWith(t, 'PATH', /is a path/, (all) => [...all, { name: 'plain', pax: { path: '../../x' }, bytes: Buffer.from('x') }])
})

test.serial('members of another size, or other bytes', async (t) => {
  const [first] = originals.keys()
  for (const part of ['image', 'meta']) {
    const name = `${first}.${part}`
    const swapped = (bytes) => (all) => all.map((member) => (member.name === name ? { name, bytes: bytes(member.bytes) } : member))
    const longer = await pack(
      path.join(folder(t), 'longer.tar'),
      swapped((bytes) => Buffer.concat([bytes, bytes]))(await unpack(two))
    )
    t.regex((await refused(t, 'SIZE', longer)).message, new RegExp(`${name} has \\d+ bytes, where there must be \\d+`))
    await refusedWith(
      t,
      'DIGEST',
      new RegExp(`${name} is not what manifest\\.json says`),
      swapped((bytes) => {
        const other = Buffer.from(bytes)
        other[other.length >> 1] ^= 0x80
        return other
      })
    )
    t.is(cache.entries().filter(({ key }) => key === first).length, 0)
  }
})

const SHAPES = [
  ['no JSON', () => Buffer.from('{"type":')],
  ['no UTF-8', (manifest) => Buffer.concat([Buffer.from(JSON.stringify(manifest)), Buffer.of(0xff)])],
  ['empty', () => Buffer.alloc(0)],
  ['null', () => Buffer.from('null')],
  ['an array', (manifest) => Buffer.from(JSON.stringify([manifest]))],
  ['another type', (manifest) => ({ ...manifest, type: 'other' })],
  ['a partition with a lone surrogate', (manifest) => void (manifest.entries[1].partition = '\ud800')],
  ['a source with a lone surrogate', (manifest) => void (manifest.entries[1].source = 'x\udc00')],
  ['an engine with a lone surrogate', (manifest) => void (manifest.entries[1].engine.cpu = '\ud800')],
  ['a format that is no number', (manifest) => ({ ...manifest, format: '1' })],
  ['no package', ({ package: _, ...manifest }) => manifest],
  ['no entries', ({ entries: _, ...manifest }) => manifest],
  ['entries that are no array', (manifest) => ({ ...manifest, entries: { ...manifest.entries, length: 2 } })],
  ['an entry that is none', (manifest) => void (manifest.entries[1] = null)],
  ...['key', 'hash', 'partition', 'source', 'engine', 'wasmBytes', 'created', 'head', 'image', 'meta'].flatMap((name) => [
    [`no ${name}`, ({ entries }) => void delete entries[1][name]],
    [`a ${name} that is a list`, ({ entries }) => void (entries[1][name] = [7])],
  ]),
  ['a key with capitals', ({ entries }) => void (entries[0].key = entries[0].key.toUpperCase().replace(/^./, 'A'))],
  ['a key that is a path', ({ entries }) => void (entries[0].key = `../${entries[0].key.slice(3)}`)],
  ['a key of another module', ({ entries }) => void (entries[0].hash = ZEROS)],
  ['a key of another partition', ({ entries }) => void (entries[0].partition += 'x')],
  ['an engine of numbers', ({ entries }) => void (entries[0].engine.cpu = 1)],
  ['a negative size', ({ entries }) => void (entries[0].image.bytes = -1)],
  ['half a byte', ({ entries }) => void (entries[0].meta.bytes = 0.5)],
  ['no digest', ({ entries }) => void delete entries[0].meta.sha256],
  ['negative time', ({ entries }) => void (entries[0].created = -1)],
]

test.serial('manifests of another shape, and those that contradict themselves', async (t) => {
  for (const [title, change] of SHAPES) {
    const file = await forge(two, path.join(folder(t), 'forged.tar'), keys.privateKey, change)
    const error = await refused(t, 'MANIFEST', file)
    t.true(error.message.includes('manifest.json'), `${title}: ${error.message}`)
    t.is(cache.entries().length, 0, title)
  }
  const twice = await forge(two, within('twice.tar'), keys.privateKey, ({ entries }) => void entries.push(entries[0]))
  await refused(t, 'DUPLICATE', twice)
  const later = await forge(two, within('later.tar'), keys.privateKey, (manifest) => void (manifest.format = 2))
  t.regex((await refused(t, 'FORMAT', later)).message, /has the format 2, .* reads 1$/)
  t.is(cache.entries().length, 0)
})

test.serial('sizes beyond the limits: before anything is read', async (t) => {
  for (const [part, bytes] of [
    ['image', 2 * 2 ** 30 + 1],
    ['meta', 16 * 2 ** 20 + 1],
  ]) {
    const file = await forge(two, within('large.tar'), keys.privateKey, ({ entries }) => void (entries[0][part].bytes = bytes))
    t.regex(
      (await refused(t, 'TOO_LARGE', file)).message,
      new RegExp(`${bytes} bytes for its ${part}, more than the ${bytes - 1} that are allowed`)
    )
  }
  const large = await forge(two, within('large.tar'), keys.privateKey, () => Buffer.alloc(64 * 2 ** 20 + 1, ' '))
  t.regex(
    (await refused(t, 'TOO_LARGE', large)).message,
    /manifest\.json has 67108865 bytes, more than the 67108864 that are allowed/
  )
  const largest = await forge(two, within('large.tar'), keys.privateKey, () => Buffer.alloc(64 * 2 ** 20, ' '))
  await refused(t, 'MANIFEST', largest)
  // The header alone says so.
  const header = fs.readFileSync(two).subarray(0, 512)
  header.write('77777777777 ', 124)
  header.fill(' ', 148, 156)
  header.write(
    header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0'),
    148
  )
  fs.writeFileSync(within('large.tar'), header)
  await refused(t, 'TRUNCATED', within('large.tar'))
  t.is(cache.entries().length, 0)
})

test.serial('what is no archive', async (t) => {
  fs.writeFileSync(within('text'), 'no archive at all\n'.repeat(100))
  await refused(t, 'MALFORMED', within('text'))
  await refused(t, 'MALFORMED', at)
  fs.writeFileSync(within('nothing'), '')
  await refused(t, 'MISSING', within('nothing'))
  fs.writeFileSync(within('zeros'), Buffer.alloc(4096))
  await refused(t, 'MISSING', within('zeros'))
  fs.writeFileSync(within('gzip'), require('node:zlib').gzipSync(fs.readFileSync(two)))
  await refused(t, 'MALFORMED', within('gzip'))
  await t.throwsAsync(cache.import(within('missing.tar'), signed()), { code: 'ENOENT' })
})

// ── Damage ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const CODES =
  /^ERR_WASM_ARCHIVE_(MALFORMED|TRUNCATED|MISSING|EXTRA|DUPLICATE|PATH|SIZE|SIGNATURE|UNSIGNED|DIGEST|MANIFEST|FORMAT|TOO_LARGE|NOT_STORED)$/

/** Imports what `bytes` are: an error with a code, or all that was exported. */
async function survives(t, bytes, options, message) {
  const file = within('damaged.tar')
  fs.writeFileSync(file, bytes)
  const outcome = await cache.import(file, options).catch((error) => error)
  if (outcome instanceof Error) t.regex(outcome.code ?? outcome.stack, CODES, message)
  const count = onlyOriginals(t, message)
  if (count > 0) cache.clear()
  return outcome
}

test.serial('a bit that is flipped, anywhere: an error, or nothing that it changes', async (t) => {
  const good = fs.readFileSync(one)
  const tally = { refused: 0, imported: 0 }
  for (let index = 0; index < 400; index++) {
    // Every part has its share, the headers and the manifest too, which are small.
    const place = index % 2 === 0 ? Math.floor((good.length * index) / 400) : (index * 37) % 6144
    const bit = 1 << ((index * 5) % 8)
    const bytes = Buffer.from(good)
    bytes[place] ^= bit
    const outcome = await survives(t, bytes, signed(), `bit ${bit} of byte ${place}`)
    tally[outcome instanceof Error ? 'refused' : 'imported']++
    if (!(outcome instanceof Error)) t.deepEqual(outcome.skipped, [], 'the manifest is as it was signed')
  }
  // Padding and what tar knows of owners and times count for nothing.
  t.true(tally.refused > 300, JSON.stringify(tally))
})

test.serial('a bit that is flipped in an archive that is trusted: no other code is stored', async (t) => {
  const good = fs.readFileSync(one)
  for (let index = 0; index < 200; index++) {
    const bytes = Buffer.from(good)
    bytes[Math.floor((good.length * (index + 0.5)) / 200)] ^= 1 << (index % 8)
    await survives(t, bytes, { trust: true }, `number ${index}`)
  }
})

test.serial('an archive that is cut off, wherever: nothing of it is stored', async (t) => {
  const good = fs.readFileSync(two)
  const lengths = new Set(Array.from({ length: good.length / 512 }, (_, block) => block * 512))
  for (let index = 0; index < 100; index++) lengths.add(Math.floor((good.length * index) / 100))
  for (const length of [...lengths, good.length - 1]) {
    fs.writeFileSync(within('cut.tar'), good.subarray(0, length))
    const error = await t.throwsAsync(cache.import(within('cut.tar'), signed()), undefined, `${length} bytes`)
    t.regex(error.code, /^ERR_WASM_ARCHIVE_(TRUNCATED|MISSING|UNSIGNED)$/, `${length}: ${error.message}`)
    t.is(cache.entries().length, 0, `${length} bytes`)
  }
})

test.serial('hundreds of archives leave no file open and nothing in the cache directory', async (t) => {
  const descriptors = () => (fs.existsSync('/proc/self/fd') ? fs.readdirSync('/proc/self/fd').length : 0)
  const before = descriptors()
  fs.writeFileSync(within('cut.tar'), fs.readFileSync(two).subarray(0, -2048))
  for (let index = 0; index < 100; index++) await refused(t, 'TRUNCATED', within('cut.tar'))
  t.true(descriptors() <= before + 5)
  t.deepEqual(litter(CACHE), [])
})
