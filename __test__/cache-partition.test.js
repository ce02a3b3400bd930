'use strict'
// Code that was compiled for one partition is never served to another: not by the registry of a process, by the record of a
// file, by the head of a stream, by a finisher, nor by files that were given each other's names.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const { COLD, HOT, entries, files, folder, named, story } = require('./support/commands.js')
const { CALLS, endure, subject } = require('./support/hostile.js')
const { linux, over } = require('./support/processes.js')

const made = subject(test)
const WAYS = ['bytes', 'sync', 'file', 'response', 'stream']

/** Asks for the same module in each of these partitions. */
const job = (as, ...partitions) => ({
  modules: partitions.map((partition) => ({ file: made.file, as, options: { minSize: 0, partition }, calls: CALLS })),
})

const paths = (ended, name) => named(ended, name).map((event) => event.path)

for (const as of WAYS) {
  test.serial(`in one process and the next: ${as}`, async (t) => {
    const cache = folder(t)
    while (Date.now() - fs.statSync(made.file).ctimeMs < 2100) await new Promise((resolve) => setTimeout(resolve, 50))
    const one = await endure(t, made, job(as, 'one'), { cache })
    t.deepEqual(one.story, COLD)
    // The record of the file and the head of the stream are there, and are no reason to serve what is there.
    const others = await endure(t, made, job(as, 'two', '', 'One', 'one '), { cache })
    t.deepEqual([...others.story].sort(), [...COLD, ...COLD, ...COLD, ...COLD].sort())
    t.is(new Set([...paths(one, 'cachedModule'), ...paths(others, 'cachedModule')]).size, 5)
    const hot = await endure(t, made, { ...job(as, 'two', 'one', 'one'), at: 'once' }, { cache })
    t.deepEqual(
      [...new Set(paths(hot, 'moduleCacheHit'))].sort(),
      [paths(one, 'cachedModule')[0], paths(others, 'cachedModule')[0]].sort()
    )
    const read = {
      modules: [{ file: made.file, as, options: { minSize: 0, partition: 'three', cache: 'read-only' }, calls: CALLS }],
    }
    const three = await endure(t, made, read, { cache })
    t.deepEqual(named(three, 'moduleCacheHit'), [])
    // The record of a file leads to a lookup of its own.
    t.deepEqual([...new Set(named(three, 'moduleCacheMiss').map(({ reason }) => reason))], ['other-partition'])
  })
}

test.serial("artifacts that were given each other's names", async (t) => {
  const cache = folder(t)
  const ended = await endure(t, made, job('bytes', 'one', 'two'), { cache })
  const [one, two] = paths(ended, 'cachedModule')
  const note = (entry) => entry.replace(/\.cwasm$/, '.ok')
  for (const name of [(entry) => entry, note]) {
    fs.renameSync(name(one), `${one}-aside`)
    fs.renameSync(name(two), name(one))
    fs.renameSync(`${one}-aside`, name(two))
  }
  const swapped = await endure(t, made, job('bytes', 'one', 'two'), { cache })
  t.deepEqual([...swapped.story].sort(), [...COLD, ...COLD, 'moduleCacheInvalid', 'moduleCacheInvalid'].sort(), 'neither is served')
  t.deepEqual(
    named(swapped, 'moduleCacheInvalid').map(({ reason }) => reason),
    ['wrong-key', 'wrong-key']
  )
  t.deepEqual((await endure(t, made, job('bytes', 'one', 'two'), { cache })).story, [...HOT, ...HOT])
})

const onLinux = linux ? test.serial : undefined

onLinux?.('a module that was left to a finisher, and a spool file that was given the name of another', async (t) => {
  const cache = folder(t)
  const left = { ...job('bytes', 'one', 'two'), busy: true, end: 'return', freeze: true }
  const ended = await endure(t, made, left, { cache, env: { WASM_COMPILE_CACHE_FINISH: '1' } })
  const handed = named(ended, 'handedOff')
  t.is(handed.length, 2)
  const [one, two] = handed.map(({ spool }) => spool)
  fs.renameSync(one, two) // what was spooled for the one is what the finisher of the other takes
  for (const { pid } of handed) process.kill(pid, 'SIGCONT')
  await over(handed.map(({ pid }) => pid))
  t.deepEqual(entries(cache), [], 'it is not taken')
  t.deepEqual(
    files(cache).filter((name) => name.endsWith('.spool')),
    []
  )
  const again = await endure(t, made, { ...left, freeze: false }, { cache, env: { WASM_COMPILE_CACHE_FINISH: '1' } })
  await over(named(again, 'handedOff').map(({ pid }) => pid))
  t.is(entries(cache).length, 2)
  const hot = await endure(t, made, job('bytes', 'two', 'one'), { cache })
  t.deepEqual(story(hot), [...HOT, ...HOT])
  t.deepEqual(
    paths(hot, 'moduleCacheHit').map((hit) => path.basename(hit, '.cwasm')),
    [two, one].map((spool) => path.basename(spool, '.spool'))
  )
  t.is(named(await endure(t, made, job('bytes', 'three'), { cache }), 'baselineReady').length, 1)
})
