'use strict'
// Disks that are full, read-only, over quota or broken, at every step of what the cache does: the program's results are
// right, and it is told once.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')
const { COLD, HOT, UNCACHED, entries, files, folder, litter, named } = require('./support/commands.js')
const { UNDER, endure, subject } = require('./support/hostile.js')
const { fill, small } = require('./support/mounts.js')
const { over, mentioning } = require('./support/processes.js')

const made = subject(test)
const SQL = require.resolve('sql.js/dist/sql-wasm.wasm')
const FULL = 'ERR_WASM_CACHE_FULL'

// On other systems nothing can be mounted by a test.
const onLinux = process.platform === 'linux' ? test.serial : undefined

/**
 * A command on a disk on which something may fail, then two with room again. The limit is not the disk's share, which is
 * used up long before the disk.
 *
 * @returns {Promise<boolean>} whether all was stored at once
 */
async function tight(t, mount, cache, widen, what) {
  const settings = { cache: cache.path, under: mount.under, env: { WASM_COMPILE_CACHE_MAX_SIZE: '1000000' } }
  const { failures, story } = await endure(t, made, made.job(), settings)
  for (const { code, path } of failures) {
    t.is(code, FULL, what)
    t.true(path.startsWith(cache.path), path)
  }
  if (failures.length === 0) t.deepEqual(story, COLD, `${what}: nothing failed, so all is there`)
  t.deepEqual(litter(cache.inside), [], what)
  const half = files(cache.inside).filter(
    (name) => /\.cwasm$|seal\.key$/.test(name) && fs.statSync(path.join(cache.inside, name)).size === 0
  )
  t.deepEqual(half, [], what)
  widen()
  const wide = await endure(t, made, made.job(), settings)
  t.deepEqual(wide.failures, [], `${what}, then with room`)
  const hot = await endure(t, made, made.job(), settings)
  t.deepEqual(hot.story, HOT, `${what}, then with room`)
  return failures.length === 0
}

onLinux?.('a disk with any number of files left', async (t) => {
  const mount = await small(t, 'nr_inodes=1,size=4m')
  const stages = new Set()
  for (let inodes = 1, done = false; !done; inodes++) {
    mount.remount(`nr_inodes=${inodes}`)
    const cache = { path: path.join(mount.path, 'cache'), inside: path.join(mount.inside, 'cache') }
    done = await tight(
      t,
      mount,
      cache,
      () => {
        stages.add(files(cache.inside).length)
        mount.remount('nr_inodes=1000')
      },
      `${inodes} files`
    )
    fs.rmSync(cache.inside, { recursive: true, force: true })
    t.true(inodes < 60, 'some number is enough')
  }
  t.true(stages.size > 5, `it stopped in ${stages.size} places`)
})

onLinux?.('a disk with any number of pages left', async (t) => {
  const PAGE = 4096
  const measured = folder(t)
  await endure(t, made, made.job(), { cache: measured })
  const [entry] = entries(measured)
  const pages = Math.ceil(fs.statSync(entry).size / PAGE)
  const mount = await small(t, 'size=4m')
  const filler = path.join(mount.inside, 'filler')
  let full = 0
  // The folders take no pages; the key, the artifact and what comes after it do.
  for (const left of [0, 1, 2, 3, pages - 1, pages, pages + 1, pages + 2, pages + 3, pages + 8]) {
    const cache = { path: path.join(mount.path, 'cache'), inside: path.join(mount.inside, 'cache') }
    const size = fill(filler)
    fs.truncateSync(filler, size - left * PAGE)
    const whole = await tight(t, mount, cache, () => fs.rmSync(filler), `${left} pages of ${pages}`)
    full += whole ? 0 : 1
    t.is(whole || left < pages + 8, true, 'with so much room nothing fails')
    fs.rmSync(cache.inside, { recursive: true, force: true })
  }
  t.true(full >= 4)
})

onLinux?.('a disk that becomes full between two modules', async (t) => {
  const mount = await small(t, 'size=2m')
  const cache = path.join(mount.path, 'cache')
  const job = made.job('bytes')
  await endure(t, made, job, { cache, under: mount.under })
  fill(path.join(mount.inside, 'filler'))
  const { failures, story } = await endure(t, made, made.job('bytes', 'sync', 'response'), { cache, under: mount.under })
  t.deepEqual(
    story.filter((name) => name === 'moduleCacheHit'),
    HOT,
    'what is there is used'
  )
  t.deepEqual(
    failures.map(({ code }) => code),
    [FULL, FULL],
    'each is told; Node is told once'
  )
})

onLinux?.('a full disk when a module is left to a finisher', async (t) => {
  const mount = await small(t, 'size=2m')
  const cache = path.join(mount.path, 'cache')
  const env = { WASM_COMPILE_CACHE_FINISH: '1' }
  await endure(t, made, { modules: [], end: 'return' }, { cache, under: mount.under })
  const job = { modules: [{ file: SQL, as: 'bytes' }], end: 'return' }
  fill(path.join(mount.inside, 'filler'))
  const { failures, events } = await endure(t, { expected: undefined }, job, { cache, env, under: mount.under })
  t.deepEqual(named({ events }, 'handedOff'), [])
  t.is(failures.length, 1)
  t.is(failures[0].code, FULL)
  t.true(failures[0].path.startsWith(cache))
  t.deepEqual(litter(path.join(mount.inside, 'cache')), [])
})

onLinux?.('a disk too small for what a finisher makes', async (t) => {
  const { size } = fs.statSync(SQL)
  const mount = await small(t, `size=${Math.ceil(size / 1024) + 200}k`)
  const cache = path.join(mount.path, 'cache')
  // As much as the user allows: the default would leave the most of so small a disk to others.
  const env = { WASM_COMPILE_CACHE_FINISH: '1', WASM_COMPILE_CACHE_MAX_SIZE: '1G' }
  const job = { modules: [{ file: SQL, as: 'bytes' }], end: 'return' }
  const { failures, events } = await endure(t, { expected: undefined }, job, { cache, env, under: mount.under })
  t.deepEqual(failures, [])
  const handed = named({ events }, 'handedOff')
  t.is(handed.length, 1)
  await over([handed[0].pid])
  t.deepEqual(mentioning(cache), [])
  t.deepEqual(entries(path.join(mount.inside, 'cache')), [])
  t.deepEqual(litter(path.join(mount.inside, 'cache')), [])
})

onLinux?.('a read-only disk: an empty one is told of, a full one is used', async (t) => {
  const mount = await small(t, 'size=4m')
  const cache = path.join(mount.path, 'cache')
  const settings = { cache, under: mount.under }
  mount.remount('ro')
  const empty = await endure(t, made, made.job(), settings)
  t.deepEqual(
    empty.failures.map(({ code, path }) => [code, path]),
    [['ERR_WASM_CACHE_CREATE', cache]]
  )
  t.regex(empty.failures[0].reason, /[Rr]ead-only file system/)
  t.deepEqual(empty.story, ['cacheWriteFailed', ...UNCACHED])
  mount.remount('rw')
  while (Date.now() - fs.statSync(made.file).ctimeMs < 2100) await new Promise((resolve) => setTimeout(resolve, 50))
  const ways = ['bytes', 'file', 'response', 'sync']
  await endure(t, made, made.job(...ways), settings)
  const before = files(path.join(mount.inside, 'cache'))
  mount.remount('ro')
  const full = await endure(t, made, made.job(...ways), settings)
  t.deepEqual(full.story, Array(4).fill('moduleCacheHit'), 'and nothing is told')
  const other = await endure(t, made, made.job('stream'), settings)
  t.deepEqual(
    other.failures.map(({ code }) => code),
    ['ERR_WASM_CACHE_WRITE']
  )
  t.true(other.failures[0].path.startsWith(cache))
  t.deepEqual(files(path.join(mount.inside, 'cache')), before)
  // A verification that was not noted is done again each time.
  mount.remount('rw')
  for (const name of before) if (name.endsWith('.ok')) fs.rmSync(path.join(mount.inside, 'cache', name))
  mount.remount('ro')
  t.deepEqual((await endure(t, made, made.job('bytes'), settings)).story, HOT)
})

/** Builds ../children/refusals.c; what has a command load it. */
function refusing(t, cache) {
  const library = path.join(folder(t), 'refusals.so')
  execFileSync('cc', [
    '-shared',
    '-fPIC',
    '-O1',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-o',
    library,
    path.join(__dirname, 'children/refusals.c'),
    '-ldl',
  ])
  return (call, code) => {
    const env = { LD_PRELOAD: library, REFUSE_BELOW: cache, REFUSE: `${call}=${os.constants.errno[code]}` }
    return { cache, env }
  }
}

/** The name of the folder that a cache's files are in. */
async function versionFolder(t) {
  const cache = path.join(folder(t), 'cache')
  await endure(t, made, made.job(), { cache })
  return files(cache).find((name) => /^v\d+-[^/]*$/.test(name))
}

// No file system without locks can be mounted without a network, none with quotas without the system's set-up, and none that
// breaks: so the C library's calls are made to fail, for files of the cache alone.
for (const code of ['ENOLCK', 'ENOSYS', 'EOPNOTSUPP', 'EINVAL']) {
  onLinux?.(`a file system without locks: ${code}`, async (t) => {
    const cache = path.join(folder(t), 'cache')
    const settings = refusing(t, cache)('flock', code)
    const version = path.join(cache, await versionFolder(t))
    const old = path.join(version, '.tmp-abandoned')
    fs.mkdirSync(version, { recursive: true, mode: 0o700 })
    fs.writeFileSync(old, 'x')
    fs.utimesSync(old, 0, 0)
    const cold = await endure(t, made, made.job(), settings)
    t.false(fs.existsSync(old), 'litter is swept')
    for (const failure of cold.failures) {
      t.is(failure.code, 'ERR_WASM_CACHE_LOCK')
      t.true(failure.path.startsWith(cache))
    }
    t.true(cold.failures.length <= 1)
    const hot = await endure(t, made, made.job(), settings)
    t.deepEqual(
      hot.story.filter((name) => name !== 'cacheWriteFailed'),
      HOT,
      'it is stored and used all the same'
    )
    t.deepEqual(litter(cache), [])
  })
}

for (const [what, call, code, expected] of [
  ['a quota that is used up', 'write', 'EDQUOT', FULL],
  ['a disk that cannot be written', 'write', 'EIO', undefined],
  ['a disk that cannot be flushed', 'fsync', 'EIO', undefined],
]) {
  onLinux?.(what, async (t) => {
    const cache = path.join(folder(t), 'cache')
    const settings = refusing(t, cache)(call, code)
    const first = await endure(t, made, made.job(), settings)
    t.deepEqual(first.story, ['cacheWriteFailed', ...UNCACHED], 'the key cannot be made')
    t.true(first.failures[0].path.startsWith(cache))
    if (expected) t.is(first.failures[0].code, expected)
    t.deepEqual((await endure(t, made, made.job(), { cache })).story, COLD)
    const second = await endure(t, made, made.job('sync'), settings)
    t.deepEqual(second.story, ['baselineReady', 'cacheWriteFailed', 'optimizedReady'], 'the artifact cannot be written')
    t.true(second.failures[0].path.startsWith(cache))
    t.is(second.failures[0].code, expected ?? 'ERR_WASM_CACHE_WRITE')
    t.deepEqual((await endure(t, made, made.job(), settings)).story, HOT)
    t.is(entries(cache).length, 1)
    t.deepEqual(litter(cache), [])
  })
}

onLinux?.('a disk that cannot be read', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const settings = refusing(t, cache)('read', 'EIO')
  await endure(t, made, made.job(), { cache })
  const { failures } = await endure(t, made, made.job(), settings)
  t.is(failures.length, 1)
  t.true(failures[0].path.startsWith(cache))
  t.deepEqual((await endure(t, made, made.job(), { cache })).story, HOT, 'nothing was thrown away for it')
})

onLinux?.('a disk from which no code may be run', async (t) => {
  const mount = await small(t, 'noexec,size=4m')
  const settings = { cache: path.join(mount.path, 'cache'), under: mount.under, env: { WASM_COMPILE_CACHE_MAX_SIZE: '1000000' } }
  const cache = path.join(mount.inside, 'cache')
  t.deepEqual((await endure(t, made, made.job(), settings)).story, COLD)
  t.is(entries(cache).length, 1)
  const hot = await endure(t, made, made.job(), settings)
  t.deepEqual(hot.story, HOT)
  t.deepEqual(
    named(hot, 'moduleCacheHit').map(({ pages }) => pages),
    ['private']
  )
})

onLinux?.('no more files than one can be opened', async (t) => {
  const cache = path.join(folder(t), 'cache')
  t.deepEqual((await endure(t, made, made.job('sync'), { cache })).story, COLD)
  const [entry] = entries(cache)
  const { ino } = fs.statSync(entry)
  const under = ['sh', '-c', 'ulimit -n 100 && exec "$@"', 'sh']
  const short = await endure(t, made, { ...made.job('sync'), files: 1 }, { cache, under })
  t.deepEqual(short.story, HOT)
  t.deepEqual(entries(cache), [entry])
  t.is(fs.statSync(entry).ino, ino, 'it was not thrown away')
})

onLinux?.('the folder of heads cannot be written', async (t) => {
  const cache = path.join(folder(t), 'cache')
  await endure(t, made, made.job('sync'), { cache })
  for (const name of files(cache)) if (/\.(cwasm|ok)$|\/heads\/./.test(name)) fs.rmSync(path.join(cache, name))
  const [heads] = files(cache).filter((name) => name.endsWith('/heads'))
  fs.chmodSync(path.join(cache, heads), 0o500)
  t.teardown(() => fs.chmodSync(path.join(cache, heads), 0o700))
  const { failures, story } = await endure(t, made, made.job('sync'), { cache, under: UNDER })
  t.deepEqual(
    failures.map(({ code }) => code),
    ['ERR_WASM_CACHE_WRITE']
  )
  t.deepEqual(story, ['baselineReady', 'cacheWriteFailed', 'cachedModule', 'optimizedReady'], 'the artifact is stored')
  t.deepEqual((await endure(t, made, made.job('sync'), { cache, under: UNDER })).story, HOT)
})

onLinux?.('a limit on the size of files', async (t) => {
  for (const blocks of [0, 1, 8]) {
    const cache = path.join(folder(t), 'cache')
    const under = ['sh', '-c', `ulimit -f ${blocks} && exec "$@"`, 'sh']
    const { failures } = await endure(t, made, made.job(), { cache, under })
    t.deepEqual(
      failures.map(({ code }) => code),
      [FULL]
    )
    t.true(failures[0].path.startsWith(cache))
    t.deepEqual(litter(cache), [])
  }
})
