'use strict'
// Archives of the cache: what is exported, what is imported, and by whom it has to be signed. What is damaged or forged is in
// ./archive-defects.test.js, archives as users ship them are in ./archive-shipping.test.js.

const { execFileSync } = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { cache, compileStreaming, Module } = require('..')
const { native } = require('../dist/engine.js').load('process/native.js')
const { digest, forge, keyPair, pack, unpack } = require('./support/archives.js')
const { folder } = require('./support/commands.js')
const { subject } = require('./support/exported.js')
const { answer } = require('./support/wat.js')

const { at, keys, onlyOriginals, originals, others, refused, signed, two, within } = subject(test)

// ── There and back ──────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('what was exported is imported, with all that was told of it; once more, it is there already', async (t) => {
  const report = await cache.import(two, signed())
  t.deepEqual(report.present, [])
  t.deepEqual(report.skipped, [])
  t.deepEqual(
    report.imported.map(({ key }) => key),
    [...originals.keys()].sort()
  )
  t.is(onlyOriginals(t), 2)
  for (const { key, hash, source, partition, path: file } of report.imported) {
    const { image: _image, meta: _meta, ...told } = native.cacheRead(key)
    const { image: _, meta: __, ...original } = originals.get(key)
    t.deepEqual(told, original)
    t.like(original, { hash, source, partition })
    t.is(path.basename(file), `${key}.cwasm`)
    t.true(fs.existsSync(file))
  }
  const again = await cache.import(two, { trust: true })
  t.deepEqual(again, { imported: [], present: report.imported.map(({ path: _, ...told }) => told), skipped: [] })
})

test.serial('an entry that differs is replaced, and so is one that is damaged', async (t) => {
  const [[key]] = originals
  const changed = await forge(two, within('changed.tar'), keys.privateKey, ({ entries }, parts) => {
    const name = `${key}.image`
    parts[name] = Buffer.concat([parts[name], Buffer.from('other')])
    Object.assign(entries.find((entry) => entry.key === key).image, { bytes: parts[name].length, sha256: digest(parts[name]) })
  })
  await cache.import(changed, signed())
  t.is(native.cacheRead(key).image.byteLength, originals.get(key).image.byteLength + 5)
  const report = await cache.import(two, signed())
  t.deepEqual(
    report.imported.map((entry) => entry.key),
    [key]
  )
  t.is(onlyOriginals(t), 2)

  const [{ path: file }] = report.imported
  const bytes = fs.readFileSync(file)
  bytes[100] ^= 1
  fs.writeFileSync(file, bytes)
  t.is(native.cacheRead(key), null)
  t.deepEqual(
    (await cache.import(two, signed())).imported.map((entry) => entry.key),
    [key]
  )
  t.is(onlyOriginals(t), 2)
})

test.serial('the same entries make the same archive, of what the manifest says, signed as Ed25519 is', async (t) => {
  await cache.import(two, signed())
  const { file, bytes, entries, omitted, signed: isSigned } = await cache.export(within('again.tar'), { sign: keys.privateKey })
  t.true(isSigned)
  t.deepEqual(omitted, [])
  t.is(bytes, fs.statSync(file).size)
  t.true(fs.readFileSync(file).equals(fs.readFileSync(two)))
  const [manifest, signature, ...parts] = await unpack(file)
  t.is(manifest.name, 'manifest.json')
  t.is(signature.name, 'manifest.sig')
  t.true(crypto.verify(null, manifest.bytes, fs.readFileSync(keys.publicKey), signature.bytes))
  const told = JSON.parse(manifest.bytes)
  t.like(told, { type: 'wasm-compile-cache', format: 1, package: require('../package.json').version })
  const named = told.entries.flatMap(({ key, image, meta }) => [
    [`${key}.image`, image],
    [`${key}.meta`, meta],
  ])
  t.deepEqual(
    parts.map((part) => [part.name, { bytes: part.bytes.length, sha256: digest(part.bytes) }]),
    named
  )
  t.deepEqual(
    entries,
    told.entries.map(({ key, hash, source, partition, image, meta }) => ({
      key,
      hash,
      source,
      partition,
      bytes: image.bytes + meta.bytes,
    }))
  )
})

test.serial('entries by key, by partition; unsigned', async (t) => {
  await cache.import(two, signed())
  const names = async (options) => (await cache.export(within('some.tar'), options)).entries.map(({ key }) => key)
  const [plain] = [...originals].find(([, { partition }]) => partition === '')
  const [parted] = [...originals].find(([, { partition }]) => partition === 'p')
  t.deepEqual(await names({ keys: [plain, plain] }), [plain])
  t.deepEqual(await names({ partition: 'p' }), [parted])
  t.deepEqual(await names(), [plain, parted].sort())
  t.deepEqual(
    (await unpack(within('some.tar'))).map(({ name }) => name).filter((name) => name === 'manifest.sig'),
    []
  )
})

test.serial('an export of nothing is an error, and an archive of nothing is none', async (t) => {
  const [file, empty] = [within('none.tar'), within('empty.tar')]
  const code = 'ERR_WASM_ARCHIVE_NO_ENTRY'
  await t.throwsAsync(cache.export(file), { code, message: /^\S+none\.tar is not written: .* ls` shows/ })
  await cache.import(two, signed())
  for (const options of [{ partition: 'q' }, { keys: [] }]) await t.throwsAsync(cache.export(file, options), { code })
  t.false(fs.existsSync(file))
  await forge(two, empty, keys.privateKey, (manifest, parts) => {
    for (const name of Object.keys(parts)) delete parts[name]
    return { ...manifest, entries: [] }
  })
  t.deepEqual(await cache.import(empty, signed()), { imported: [], present: [], skipped: [] })
})

test.serial('what is damaged is left out, unless it was asked for', async (t) => {
  const file = within('good.tar')
  const [bad, good] = (await cache.import(two, signed())).imported
  const bytes = fs.readFileSync(bad.path)
  bytes[100] ^= 1
  fs.writeFileSync(bad.path, bytes)
  const exported = await cache.export(file)
  t.deepEqual(
    exported.entries.map(({ key }) => key),
    [good.key]
  )
  t.deepEqual(exported.omitted, [bad])
  t.deepEqual(
    (await cache.import(file, { trust: true })).present.map(({ key }) => key),
    [good.key]
  )
  const code = 'ERR_WASM_ARCHIVE_NO_ENTRY'
  await t.throwsAsync(cache.export(file, { keys: [bad.key, good.key] }), {
    code,
    message: new RegExp(`${bad.key}.*wasm-compile-cache verify`),
  })
  await t.throwsAsync(cache.export(file, { partition: bad.partition }), { code, message: /wasm-compile-cache verify/ })
})

test.serial('what opens doors in an address is not shipped', async (t) => {
  const file = within('address.tar')
  const address = 'https://user:secret@example.com/a/module.wasm?token=secret#secret'
  const response = new Response(await answer(7), { headers: { 'content-type': 'application/wasm' } })
  Object.defineProperty(response, 'url', { value: address })
  await Module.optimized(await compileStreaming(response, { minSize: 0 }))
  await cache.flush()
  t.is(cache.entries()[0].source, address)
  const { entries } = await cache.export(file)
  t.deepEqual(
    entries.map(({ source }) => source),
    ['https://example.com/a/module.wasm']
  )
  t.false(fs.readFileSync(file).includes('secret'))
  const again = await cache.import(file, { trust: true })
  t.is(again.present[0].source, 'https://example.com/a/module.wasm')
  cache.clear()
  await cache.import(file, { trust: true })
  t.is(cache.entries()[0].source, 'https://example.com/a/module.wasm')
})

test.serial('the file may be a URL, and so may the keys', async (t) => {
  const { pathToFileURL } = require('node:url')
  await cache.import(pathToFileURL(two), { key: pathToFileURL(keys.publicKey) })
  const { file } = await cache.export(pathToFileURL(within('url.tar')), { sign: pathToFileURL(keys.privateKey) })
  t.is(file, within('url.tar'))
  t.true(fs.readFileSync(file).equals(fs.readFileSync(two)))
  await t.throwsAsync(cache.import(new URL('https://example.com/cache.tar'), signed()), { code: 'ERR_INVALID_URL_SCHEME' })
})

test.serial('an export that fails leaves the old archive, and nothing beside it', async (t) => {
  await cache.import(two, signed())
  const to = folder(t)
  const file = path.join(to, 'old.tar')
  fs.writeFileSync(file, 'old')
  const error = await t.throwsAsync(cache.export(file, { keys: ['0'.repeat(64)] }), { code: 'ERR_WASM_ARCHIVE_NO_ENTRY' })
  t.true(error.message.includes('0'.repeat(64)))
  // The manifest is made when the call returns, and the members follow.
  const exporting = cache.export(file, { partition: '' })
  cache.clear()
  await t.throwsAsync(exporting, { code: 'ERR_WASM_ARCHIVE_CHANGED', message: /was removed or replaced while it was exported/ })
  t.deepEqual(fs.readdirSync(to), ['old.tar'])
  t.is(fs.readFileSync(file, 'utf8'), 'old')
})

test.serial('an export replaces a file, be it behind a link, and nothing else', async (t) => {
  await cache.import(two, signed())
  const to = folder(t)
  const [file, link, dangling, pipe] = ['old.tar', 'link', 'dangling', 'pipe'].map((name) => path.join(to, name))
  fs.writeFileSync(file, 'old')
  const names = ['old.tar']
  fs.symlinkSync('old.tar', link)
  fs.symlinkSync('nowhere', dangling)
  execFileSync('mkfifo', [pipe])
  names.push('link', 'dangling', 'pipe')
  t.is((await cache.export(link)).file, link)
  t.is(fs.readlinkSync(link), 'old.tar')
  t.is(onlyOriginals(t), 2)
  t.is((await cache.import(file, { trust: true })).present.length, 2)
  for (const other of [dangling, pipe]) {
    const before = fs.lstatSync(other).ino
    const { message } = await t.throwsAsync(cache.export(other), { code: 'ERR_WASM_ARCHIVE_TARGET' })
    t.true(message.startsWith(`${other} is `), message)
    t.is(fs.lstatSync(other).ino, before)
  }
  t.regex((await refused(t, 'MALFORMED', pipe)).message, /is not a regular file: .* Write it into a file first$/)
  await t.throwsAsync(cache.export(to), { code: 'ERR_WASM_ARCHIVE_TARGET', message: `${to} is a folder` })
  const missing = path.join(to, 'missing/new.tar')
  const message = `${missing} cannot be written: ENOENT: no such file or directory`
  await t.throwsAsync(cache.export(missing), { code: 'ENOENT', message })
  // The name of a temporary file is nothing to the user.
  const long = path.join(to, 'x'.repeat(250))
  const { message: told } = await t.throwsAsync(cache.export(long))
  t.true(told.startsWith(`${long} cannot be written: `), told)
  t.false(told.includes('.tmp'))
  t.deepEqual(fs.readdirSync(to).sort(), names.sort())
})

test.serial('entries for another engine or CPU are skipped, for the field that differs; the others are imported', async (t) => {
  const [skipped, taken] = [...originals.keys()].sort()
  const cpu = originals.get(skipped).engine.cpu.split(',')
  for (const [field, value, reason] of [
    [
      'cpu',
      [...cpu.slice(1), 'avx1024', 'amx'].join(','),
      `made for other CPU features: avx1024 amx only there, ${cpu[0]} only here`,
    ],
    ['cpu', cpu.slice(0, -1).join(','), `made for other CPU features: ${cpu.at(-1)} only here`],
    ['package', '0.0.1', `made for another version of this package: 0.0.1 there, ${require('../package.json').version} here`],
    ['wasmer', '1.0.0', /^made for another version of wasmer: 1\.0\.0 there, \S+ here$/],
    ['target', 'riscv64gc-unknown-linux-gnu', /^made for another platform: riscv64gc-unknown-linux-gnu there, \S+ here$/],
    ['lowering', undefined, /^made for another lowering: none there, \d+ here$/],
  ]) {
    cache.clear()
    const file = await forge(two, within('engine.tar'), keys.privateKey, ({ entries }) => void (entries[0].engine[field] = value))
    const report = await cache.import(file, signed())
    t.deepEqual(
      report.imported.map(({ key }) => key),
      [taken],
      field
    )
    const [entry, ...more] = report.skipped
    t.deepEqual(more, [])
    t.like(entry, { key: skipped, partition: originals.get(skipped).partition })
    t.deepEqual(entry.differs, [{ field, cached: value ?? '', current: originals.get(skipped).engine[field] }])
    if (typeof reason === 'string') t.is(entry.reason, reason)
    else t.regex(entry.reason, reason)
    t.is(onlyOriginals(t), 1)
  }
})

// ── Whose it is ─────────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('without the signature of the named key nothing is taken', async (t) => {
  await refused(t, 'SIGNATURE', two, { key: others.publicKey })
  const [manifest, signature, ...parts] = await unpack(two)
  const [plain, foreign, short, long, changed] = ['plain', 'foreign', 'short', 'long', 'another'].map((name) =>
    within(`${name}.tar`)
  )
  await pack(plain, [manifest, ...parts])
  await refused(t, 'UNSIGNED', plain)
  await pack(plain, [{ ...manifest, bytes: Buffer.from('{"type":"wasm-compile-cache","format":1,"package":"","entries":[]}') }])
  await refused(t, 'UNSIGNED', plain)
  await pack(foreign, [
    manifest,
    { ...signature, bytes: crypto.sign(null, manifest.bytes, fs.readFileSync(others.privateKey)) },
    ...parts,
  ])
  await refused(t, 'SIGNATURE', foreign)
  await pack(short, [manifest, { ...signature, bytes: signature.bytes.subarray(1) }, ...parts])
  await refused(t, 'SIZE', short)
  await pack(long, [manifest, { ...signature, bytes: Buffer.concat([signature.bytes, signature.bytes]) }, ...parts])
  await refused(t, 'SIZE', long)
  // Another manifest of the same meaning.
  await pack(changed, [{ ...manifest, bytes: Buffer.from(JSON.stringify(JSON.parse(manifest.bytes))) }, signature, ...parts])
  await refused(t, 'SIGNATURE', changed)
  t.is(cache.entries().length, 0)
  t.is((await cache.import(changed, { trust: true })).imported.length, 2)
  t.is(onlyOriginals(t), 2)
})

test.serial('an import says whom it trusts', async (t) => {
  const code = 'ERR_INVALID_ARG_VALUE'
  for (const options of [undefined, {}, { trust: false }]) {
    await t.throwsAsync(cache.import(two, options), { code, message: /"key".*"trust: true"/ })
  }
  await t.throwsAsync(cache.import(two, { ...signed(), trust: true }), { code, message: /not both/ })
  await t.throwsAsync(cache.import(two, { trusted: true }), { code, message: /no option "trusted"\. The options are key, trust/ })
  await t.throwsAsync(cache.import(two, { trust: 1 }), { code: 'ERR_INVALID_ARG_TYPE' })
  await t.throwsAsync(cache.import(two, null), { code: 'ERR_INVALID_ARG_TYPE' })
  for (const file of [undefined, null, 7]) await t.throwsAsync(cache.import(file, signed()), { code: 'ERR_INVALID_ARG_TYPE' })
  await t.throwsAsync(cache.export('', {}), { code })
  await t.throwsAsync(cache.export(within('x.tar'), { key: 'x' }), { code, message: /The options are keys, partition, sign/ })
  await t.throwsAsync(cache.export(within('x.tar'), { keys: ['../x'] }), { code, message: /is not the key of an entry/ })
  await t.throwsAsync(cache.export(within('x.tar'), { keys: [], partition: '' }), { code, message: /not both/ })
  await t.throwsAsync(cache.export(within('x.tar'), { partition: null }), { code: 'ERR_INVALID_ARG_TYPE' })
  t.is(cache.entries().length, 0)
  t.false(fs.existsSync(within('x.tar')))
})

test.serial(
  'keys: what is no Ed25519 key of the right half is refused, with what to do, and without anything of the key',
  async (t) => {
    const rsa = keyPair(at, 'rsa', { modulusLength: 2048 })
    const ec = keyPair(at, 'ec', { namedCurve: 'P-256' })
    const ed448 = keyPair(at, 'ed448')
    const text = (name, content) => {
      fs.writeFileSync(within(name), content)
      return within(name)
    }
    const openssh = text(
      'openssh',
      '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n'
    )
    const damaged = text('damaged', '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2Vw\n-----END PRIVATE KEY-----\n')
    const damagedPublic = text('damaged-public', '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n')
    const empty = text('empty', '')
    const both = text('both', fs.readFileSync(keys.privateKey, 'utf8') + fs.readFileSync(keys.publicKey, 'utf8'))
    const make = /openssl genpkey -algorithm ed25519/
    const derive = /openssl pkey -in \S+ -pubout/
    const secrets = [keys, others, rsa, ec, ed448].map(({ privateKey }) => fs.readFileSync(privateKey, 'utf8').split('\n')[1])
    const check = async (promise, file, message) => {
      const error = await t.throwsAsync(promise, { code: 'ERR_WASM_ARCHIVE_KEY', message })
      t.true(error.message.startsWith(file), error.message)
      t.is(error.cause, undefined)
      for (const secret of secrets) t.false(error.stack.includes(secret.slice(0, 20)))
    }
    for (const [file, message] of [
      [keys.publicKey, /is a public key: an archive is signed with the private one/],
      [rsa.privateKey, /is a key for rsa, .*Ed25519/],
      [ec.privateKey, /is a key for ec,/],
      [ed448.privateKey, /is a key for ed448,/],
      [openssh, make],
      [empty, make],
      [damaged, make],
      [two, make],
      [both, /more than one key/],
    ]) {
      await check(cache.export(within('x.tar'), { sign: file }), file, message)
    }
    for (const [file, message] of [
      [keys.privateKey, /is a private key, which should stay where archives are made/],
      [keys.encrypted('x'), derive],
      [rsa.publicKey, /is a key for rsa, /],
      [ed448.publicKey, /is a key for ed448,/],
      [openssh, derive],
      [empty, derive],
      [damagedPublic, derive],
      [both, /more than one key/],
    ]) {
      await check(cache.import(two, { key: file }), file, message)
    }
    for (const [missing, code] of [
      [within('missing.pem'), 'ENOENT'],
      [at, 'EISDIR'],
    ]) {
      await t.throwsAsync(cache.export(within('x.tar'), { sign: missing }), { code })
      await t.throwsAsync(cache.import(two, { key: missing }), { code })
    }
    t.false(fs.existsSync(within('x.tar')))
  }
)

test.serial('an encrypted key takes its passphrase from the environment', async (t) => {
  await cache.import(two, signed())
  const sign = keys.encrypted('the passphrase')
  const attempt = () => cache.export(within('encrypted.tar'), { sign })
  t.teardown(() => delete process.env.WASM_ARCHIVE_PASSPHRASE)
  await t.throwsAsync(attempt(), { code: 'ERR_WASM_ARCHIVE_KEY', message: /is encrypted: .*WASM_ARCHIVE_PASSPHRASE/ })
  process.env.WASM_ARCHIVE_PASSPHRASE = 'another one'
  const error = await t.throwsAsync(attempt(), { code: 'ERR_WASM_ARCHIVE_KEY', message: /WASM_ARCHIVE_PASSPHRASE/ })
  t.false(error.message.includes('another one'))
  process.env.WASM_ARCHIVE_PASSPHRASE = 'the passphrase'
  await attempt()
  t.true(fs.readFileSync(within('encrypted.tar')).equals(fs.readFileSync(two)))
})
