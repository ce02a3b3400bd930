'use strict'
// Modules by their URL, from one process to the next: what is asked of the server, and what is compiled.

const { execFile } = require('node:child_process')
const { createHash } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const { leftOver } = require('./support/cli.js')
const { COLD, HOT, entries, environment, files, folder, litter, named, story } = require('./support/commands.js')
const { WASM, origin, standard } = require('./support/origin.js')
const { assemble } = require('./children/modules.js')
const { answer, padded } = require('./support/wat.js')

const CHILD = path.join(__dirname, 'children/fetched.js')
const SIZE = 128 * 1024

/** Deployments: modules of one size that differ. */
let first
let second
test.before(async () => {
  first = padded(await answer(1001), SIZE)
  second = padded(await answer(1002), SIZE)
})

/** Compiles in a process of its own. */
async function load(cache, job, env = {}) {
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env })
  const { stdout } = await promisify(execFile)(process.execPath, [CHILD, JSON.stringify(job)], { env: all })
  return JSON.parse(stdout)
}

/** What became of the address, and how the module came about. */
function how(run) {
  const [resource] = named(run, 'resource')
  return [run.answer, resource?.outcome, ...story(run).filter((name) => !['resource', 'moduleCacheMiss'].includes(name))]
}

/** Of each request since the last time: status and bytes. */
const asked = (site) => site.asked.splice(0).map(({ status, bytes }) => [status, bytes])

/** The files in a part of the cache. */
const part = (cache, name) =>
  files(cache)
    .filter((file) => file.includes(`${path.sep}${name}${path.sep}`))
    .map((file) => path.join(cache, file))

test('200, then 304 without a body, then no request, then after a new deployment 200', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
  const job = { url: site.url.href }
  t.deepEqual(how(await load(cache, job)), [1001, 'fetched', ...COLD])
  t.deepEqual(asked(site), [[200, SIZE]])

  site.later = 3_660_000
  const hot = await load(cache, { ...job, later: 3_660_000 })
  t.deepEqual(how(hot), [1001, 'revalidated', ...HOT])
  t.is(hot.tier, 'optimized')
  t.deepEqual(asked(site), [[304, 0]])

  // The 304 has made it fresh again.
  t.deepEqual(how(await load(cache, { ...job, later: 5_400_000 })), [1001, 'fresh', ...HOT])
  t.deepEqual(asked(site), [])

  Object.assign(site, { body: second, headers: { ...site.headers, etag: '"2"' }, later: 12_000_000 })
  t.deepEqual(how(await load(cache, { ...job, later: 12_000_000 })), [1002, 'changed', ...COLD])
  t.deepEqual(asked(site), [[200, SIZE]])
  t.deepEqual(how(await load(cache, { ...job, later: 12_060_000 })), [1002, 'fresh', ...HOT])
  t.deepEqual(asked(site), [])
  t.deepEqual(litter(cache), [])
})

test('a server without ETags is asked by its Last-Modified', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { 'last-modified': 'Sat, 01 Nov 2025 10:00:00 GMT' })
  for (const as of ['url', 'request']) await load(cache, { url: site.url.href, as })
  t.deepEqual(asked(site), [
    [200, SIZE],
    [304, 0],
  ])
})

test('what a program fetched itself serves a later URL, by a 304, and that a later one without a request', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
  const job = { url: site.url.href }
  t.deepEqual(how(await load(cache, { ...job, as: 'response' })), [1001, undefined, ...COLD])
  t.deepEqual(how(await load(cache, job)), [1001, 'revalidated', ...HOT])
  t.deepEqual(how(await load(cache, job)), [1001, 'fresh', ...HOT])
  t.deepEqual(how(await load(cache, { ...job, as: 'response' })), [1001, undefined, ...HOT])
  // The program's own did not take away what we know of ours.
  t.deepEqual(how(await load(cache, job)), [1001, 'fresh', ...HOT])
  t.deepEqual(asked(site), [
    [200, SIZE],
    [304, 0],
    [200, SIZE],
  ])
})

test('a Response is the module that its bytes are, whatever its validators led to before', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"' })
  const job = { url: site.url.href, as: 'response' }
  t.deepEqual(how(await load(cache, job)), [1001, undefined, ...COLD])
  // A deployment that kept the ETag.
  site.body = second
  t.deepEqual(how(await load(cache, job)), [1002, undefined, ...COLD])
  t.deepEqual(how(await load(cache, job)), [1002, undefined, ...HOT])
  site.body = first
  t.deepEqual(how(await load(cache, job)), [1001, undefined, ...HOT])
})

test('an artifact that was evicted is made of the bytes that were kept', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"' })
  const job = { url: site.url.href }
  await load(cache, job)
  for (const file of entries(cache)) fs.rmSync(file)
  t.deepEqual(how(await load(cache, job)), [1001, 'revalidated', ...COLD])
  t.deepEqual(how(await load(cache, job)), [1001, 'revalidated', ...HOT])
  t.deepEqual(asked(site), [
    [200, SIZE],
    [304, 0],
    [304, 0],
  ])
})

test('without artifact and bytes no condition is sent, fresh or not', async (t) => {
  for (const control of ['no-cache', 'max-age=3600']) {
    const cache = folder(t)
    const site = await origin(t, first, { etag: '"1"', 'cache-control': control })
    const job = { url: site.url.href }
    await load(cache, job)
    for (const file of [...entries(cache), ...part(cache, 'wasm')]) fs.rmSync(file)
    t.deepEqual(how(await load(cache, job)), [1001, 'fetched', ...COLD])
    t.deepEqual(asked(site), [
      [200, SIZE],
      [200, SIZE],
    ])
    t.is(part(cache, 'wasm').length, 1)
  }
})

test('where the built-in engine may have to take over, the artifact without the bytes is not enough', async (t) => {
  const cache = folder(t)
  const importing = await assemble(`(module
    (import "env" "table" (table 1 funcref)) (func (export "answer") (result i32) (i32.const 1003)))`)
  const site = await origin(t, padded(importing, SIZE), { etag: '"1"' })
  const job = { url: site.url.href, options: { fallback: 'builtin' } }
  t.deepEqual(how(await load(cache, job)), [1003, 'fetched', ...COLD])
  t.deepEqual(how(await load(cache, job)), [1003, 'revalidated', ...HOT])
  fs.rmSync(part(cache, 'wasm')[0])
  t.deepEqual(how(await load(cache, job)).slice(0, 2), [1003, 'fetched'])
  t.deepEqual(how(await load(cache, job)), [1003, 'revalidated', ...HOT])
  t.deepEqual(asked(site), [
    [200, SIZE],
    [304, 0],
    [304, 0],
    [200, SIZE],
    [304, 0],
  ])
})

test('bytes that were damaged are fetched again, and the artifact alone is enough', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"' })
  const job = { url: site.url.href }
  await load(cache, job)
  const [file] = part(cache, 'wasm')
  const damaged = fs.readFileSync(file)
  damaged[SIZE - 1] ^= 1
  fs.writeFileSync(file, damaged)
  t.deepEqual(how(await load(cache, job)), [1001, 'revalidated', ...HOT])
  for (const entry of entries(cache)) fs.rmSync(entry)
  t.deepEqual(how(await load(cache, job)), [1001, 'fetched', ...COLD])
  t.deepEqual(asked(site), [
    [200, SIZE],
    [304, 0],
    [304, 0],
    [200, SIZE],
  ])
  t.deepEqual(fs.readFileSync(file), first)
})

test('a record that was damaged, or is of another address, is none', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
  const job = { url: site.url.href }
  await load(cache, job)
  const [record] = part(cache, 'url')
  const good = fs.readFileSync(record)
  for (const at of [0, 20, 60, good.length - 1]) {
    const bad = Buffer.from(good)
    bad[at] ^= 1
    fs.writeFileSync(record, bad)
    t.deepEqual(how(await load(cache, job)), [1001, 'fetched', ...HOT])
  }
  t.is(asked(site).length, 5)
  await load(cache, { url: site.at('other.wasm').href })
  const other = part(cache, 'url').find((file) => file !== record)
  fs.copyFileSync(record, other)
  t.deepEqual(how(await load(cache, { url: site.at('other.wasm').href })), [1001, 'fetched', ...HOT])
})

test('partitions have records of their own', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
  const job = { url: site.url.href }
  const options = { partition: 'another' }
  t.deepEqual(how(await load(cache, job)), [1001, 'fetched', ...COLD])
  t.deepEqual(how(await load(cache, { ...job, options })), [1001, 'fetched', ...COLD])
  t.deepEqual(how(await load(cache, { ...job, options })), [1001, 'fresh', ...HOT])
  t.deepEqual(asked(site), [
    [200, SIZE],
    [200, SIZE],
  ])
})

test('cache: false and "read-only" record nothing; "read-only" uses what is there, and changes nothing', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
  const job = { url: site.url.href }
  for (const option of [false, 'read-only']) await load(cache, { ...job, options: { cache: option } })
  t.deepEqual([...part(cache, 'url'), ...part(cache, 'wasm')], [])
  t.is(asked(site).length, 2)
  await load(cache, job)
  const [record] = part(cache, 'url')
  const before = fs.readFileSync(record)
  t.deepEqual(how(await load(cache, { ...job, options: { cache: 'read-only' } })), [1001, 'fresh', ...HOT])
  const readOnly = { ...job, later: 3_660_000, options: { cache: 'read-only' } }
  t.deepEqual(how(await load(cache, readOnly)), [1001, 'revalidated', ...HOT])
  site.headers = { etag: '"2"', 'cache-control': 'no-store' }
  t.deepEqual(how(await load(cache, readOnly)), [1001, 'changed', ...HOT])
  t.deepEqual(fs.readFileSync(record), before)
  t.deepEqual(
    asked(site).map(([status]) => status),
    [200, 304, 200]
  )
  t.deepEqual(how(await load(cache, { ...job, options: { cache: false } })).slice(0, 2), [1001, 'fetched'])
})

test('the bytes of a response that says no-store are not kept, nor where they came from', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'no-store' })
  for (const as of ['url', 'response']) await load(cache, { url: site.url.href, as })
  t.deepEqual([...part(cache, 'url'), ...part(cache, 'wasm')], [])
})

test('a Response that varies without an ETag is not recorded: nobody knows what it was asked with', async (t) => {
  const cache = folder(t)
  const headers = { 'last-modified': 'Sat, 01 Nov 2025 10:00:00 GMT', vary: 'x-kind' }
  const site = await origin(t, first, headers)
  await load(cache, { url: site.url.href, as: 'response' })
  t.deepEqual(part(cache, 'url'), [])
  site.headers = { ...headers, etag: '"1"' }
  await load(cache, { url: site.url.href, as: 'response' })
  t.is(part(cache, 'url').length, 1)
})

test('what is not stored as a module is not kept as a resource either', async (t) => {
  for (const options of [{ minSize: SIZE + 1 }, { optimize: false }]) {
    const cache = folder(t)
    const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
    await load(cache, { url: site.url.href, options })
    t.deepEqual([...part(cache, 'url'), ...part(cache, 'wasm')], [])
  }
})

test('a program that ends at once has kept what it fetched', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600' })
  const job = { url: site.url.href, end: 'exit' }
  t.is((await load(cache, job)).answer, 1001)
  t.is((await load(cache, job)).answer, 1001)
  t.deepEqual(asked(site), [[200, SIZE]])
  // The end interrupts the optimizing tier, wherever it is; what that leaves goes with a sweep.
  t.deepEqual(await leftOver(cache), [])
})

test('a server that is down: a fresh record serves, a stale one only as far as the server allowed', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', 'cache-control': 'max-age=3600, stale-if-error=6000' })
  const job = { url: site.url.href }
  await load(cache, job)
  await site.stop()
  t.deepEqual(how(await load(cache, job)), [1001, 'fresh', ...HOT])
  t.deepEqual(how(await load(cache, { ...job, later: 6_000_000 })), [1001, 'stale', ...HOT])
  const { error } = await load(cache, { ...job, later: 9_660_000 })
  t.like(error, { name: 'TypeError', message: 'fetch failed', cause: 'ECONNREFUSED' })
})

test('a clock that was put back makes nothing fresh', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { etag: '"1"', age: '100', 'cache-control': 'max-age=600' })
  const job = { url: site.url.href }
  for (const later of [0, 30_000]) await load(cache, { ...job, later })
  t.deepEqual(asked(site), [[200, SIZE]])
  t.deepEqual(how(await load(cache, { ...job, later: -3_600_000 })), [1001, 'revalidated', ...HOT])
})

test('after a redirection the server is always asked, and where that leads now is what counts', async (t) => {
  const cache = folder(t)
  const headers = { etag: '"1"', 'cache-control': 'max-age=3600' }
  const site = await origin(t, first, headers, (request, site) =>
    request.url === '/latest.wasm' ? { status: 302, headers: { location: site.target } } : standard(request, site)
  )
  site.target = '/one.wasm'
  const job = { url: site.at('latest.wasm').href }
  const cold = await load(cache, job)
  t.deepEqual(how(cold), [1001, 'fetched', ...COLD])
  t.is(named(cold, 'compiledModule')[0].source, site.at('one.wasm').href)
  t.deepEqual(how(await load(cache, job)), [1001, 'revalidated', ...HOT])
  t.deepEqual(asked(site), [
    [302, 0],
    [200, SIZE],
    [302, 0],
    [304, 0],
  ])
  // Another resource that happens to have the same ETag: its 304 says nothing about the first.
  Object.assign(site, { body: second, target: '/two.wasm' })
  t.deepEqual(how(await load(cache, job)), [1002, 'fetched', ...COLD])
  t.deepEqual(how(await load(cache, job)), [1002, 'revalidated', ...HOT])
})

test('secrets of a request are not written down', async (t) => {
  const cache = folder(t)
  const site = await origin(t, first, { ...WASM, etag: '"1"', vary: 'authorization, x-token' })
  const program = `
    const W = require(${JSON.stringify(path.dirname(__dirname))})
    const headers = { authorization: 'Bearer open sesame', 'x-token': 'open sesame' }
    W.compileStreaming(new Request('${site.url.href}', { headers })).then(W.Module.optimized)`
  const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
  await promisify(execFile)(process.execPath, ['-e', program], { env })
  t.is(part(cache, 'url').length, 1)
  // Nor what a table of digests would find them by.
  const digests = ['open sesame', 'Bearer open sesame', JSON.stringify([['authorization', 'Bearer open sesame']])].map((text) =>
    createHash('sha256').update(text).digest('base64')
  )
  for (const file of files(cache)
    .map((name) => path.join(cache, name))
    .filter((file) => fs.statSync(file).isFile())) {
    for (const secret of ['open sesame', ...digests]) t.false(fs.readFileSync(file).includes(secret), file)
  }
})
