'use strict'
// Something else in the place of each file and each folder of the cache: the program's results are right, nothing outside is
// touched, nothing waits for ever, and what a user has to mend is told once, with its path.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const { entries, files, folder, litter } = require('./support/commands.js')
const { ROOT, endure, subject } = require('./support/hostile.js')
const { some } = require('./support/stress.js')

const made = subject(test)
const WAYS = ['bytes', 'file', 'response']

/** A cache with everything in it that a program leaves there. */
async function filled(t) {
  const cache = path.join(folder(t), 'cache')
  const job = made.job(...WAYS)
  while (Date.now() - fs.statSync(made.file).ctimeMs < 2100) await new Promise((resolve) => setTimeout(resolve, 50))
  await endure(t, made, job, { cache })
  // The record of the file is made by whoever reads it first.
  const { story } = await endure(t, made, job, { cache })
  t.deepEqual(story, ['moduleCacheHit', 'moduleCacheHit', 'moduleCacheHit'])
  return cache
}

const isFolder = (at) => fs.lstatSync(at).isDirectory()
const folders = (cache) => ['', ...files(cache).filter((name) => isFolder(path.join(cache, name)))]
const kind = (name) => name.replace(/[0-9a-f]{64}/, '*')
/** The files, one of each kind. */
function kinds(cache) {
  const all = files(cache).filter((name) => !isFolder(path.join(cache, name)))
  return [...new Map(all.map((name) => [kind(name), name])).values()]
}

const socket = (at) => {
  const script = 'require("node:net").createServer().listen(process.argv[1], () => process.kill(process.pid, "SIGKILL"))'
  // A path of 108 bytes at most: from the folder it is in.
  try {
    execFileSync(process.execPath, ['-e', script, path.basename(at)], { cwd: path.dirname(at), stdio: 'ignore' })
  } catch (error) {
    if (error.signal !== 'SIGKILL') throw error
  }
}

/** What is put there; `aside` has what was there. */
const IMPOSTORS = {
  'a link to it': (at, aside) => fs.symlinkSync(aside, at),
  'a link to nothing': (at, aside) => fs.symlinkSync(`${aside}-nothing`, at),
  'a link to itself': (at) => fs.symlinkSync(path.basename(at), at),
  'an empty file': (at) => fs.writeFileSync(at, ''),
  'a large file': (at) => fs.writeFileSync(at, Buffer.alloc(100_000, 1)),
  'an empty folder': (at) => fs.mkdirSync(at, 0o700),
  'a full folder': (at) => {
    fs.mkdirSync(at, 0o700)
    fs.writeFileSync(path.join(at, 'precious'), 'x')
  },
  'a pipe': (at) => execFileSync('mkfifo', [at]),
  'a socket': socket,
}

/** What lies outside of the cache, byte for byte. */
function snapshot(directory) {
  return files(directory).map((name) => {
    const at = path.join(directory, name)
    const stat = fs.lstatSync(at)
    return [name, stat.mode, stat.isFile() ? fs.readFileSync(at, 'latin1') : '']
  })
}

/** Puts `impostor` in the place of `name`, and what was there outside of the cache. */
function replace(t, cache, name, impostor) {
  const at = path.join(cache, name)
  const aside = path.join(folder(t), 'aside')
  fs.renameSync(at, aside)
  IMPOSTORS[impostor](at, aside)
  return { at, aside, before: snapshot(path.dirname(aside)) }
}

const CODES = {
  'a link to it': 'ERR_WASM_CACHE_SYMLINK',
  'a link to nothing': 'ERR_WASM_CACHE_SYMLINK',
  'a link to itself': 'ERR_WASM_CACHE_SYMLINK',
  'an empty file': 'ERR_WASM_CACHE_NOT_DIRECTORY',
  'a large file': 'ERR_WASM_CACHE_NOT_DIRECTORY',
  'a pipe': 'ERR_WASM_CACHE_NOT_DIRECTORY',
  'a socket': 'ERR_WASM_CACHE_NOT_DIRECTORY',
}

test.serial('in the place of each folder', async (t) => {
  const cache = await filled(t)
  for (const [number, name] of folders(cache).entries()) {
    for (const [impostor, code] of some(Object.entries(CODES), number)) {
      const { at, aside, before } = replace(t, cache, name, impostor)
      const { failures, story } = await endure(t, made, made.job(...WAYS), { cache })
      const place = `${impostor} in the place of ${name}/`
      t.deepEqual(
        failures.map(({ code, path }) => [code, path]),
        [[code, at]],
        place
      )
      t.false(
        story.some((name) => ['moduleCacheHit', 'cachedModule'].includes(name)),
        place
      )
      t.deepEqual(snapshot(path.dirname(aside)), before, place)
      fs.rmSync(at)
      fs.renameSync(aside, at)
    }
  }
  const { story } = await endure(t, made, made.job(...WAYS), { cache })
  t.deepEqual(story, ['moduleCacheHit', 'moduleCacheHit', 'moduleCacheHit'], 'with all in its place')
})

test.serial('each folder with modes that let others write, and with another owner', async (t) => {
  const cache = await filled(t)
  for (const name of folders(cache)) {
    const at = path.join(cache, name)
    for (const mode of [0o720, 0o702, 0o1777]) {
      fs.chmodSync(at, mode)
      const { failures } = await endure(t, made, made.job(...WAYS), { cache })
      t.deepEqual(
        failures.map(({ code, path }) => [code, path]),
        [['ERR_WASM_CACHE_UNSAFE_MODE', at]]
      )
    }
    fs.chmodSync(at, 0o700)
    if (!ROOT) continue // only root can give files away
    fs.chownSync(at, 12345, 12345)
    const { failures } = await endure(t, made, made.job(...WAYS), { cache })
    t.deepEqual(
      failures.map(({ code, path }) => [code, path]),
      [['ERR_WASM_CACHE_WRONG_OWNER', at]]
    )
    fs.chownSync(at, 0, 0)
  }
})

test.serial('in the place of each file', async (t) => {
  const cache = await filled(t)
  const patterns = kinds(cache).map(kind)
  t.true(
    ['seal.key', '.cwasm', '.ok', 'stat/*', 'heads/*'].every((one) => patterns.some((name) => name.includes(one))),
    patterns.join()
  )
  for (const [number, pattern] of patterns.entries()) {
    for (const impostor of some(Object.keys(IMPOSTORS), number)) {
      const place = `${impostor} in the place of ${pattern}`
      const name = kinds(cache).find((name) => kind(name) === pattern)
      const { at, aside, before } = replace(t, cache, name, impostor)
      const { failures } = await endure(t, made, made.job(...WAYS), { cache })
      // A folder that is not empty is not ours to delete; all else gives way.
      const stays = impostor === 'a full folder'
      if (!stays) t.deepEqual(failures, [], place)
      for (const failure of failures) t.is(failure.path, at, place)
      t.deepEqual(snapshot(path.dirname(aside)), before, place)
      if (stays) {
        t.deepEqual(fs.readdirSync(at), ['precious'], place)
      } else {
        const again = await endure(t, made, made.job(...WAYS), { cache })
        t.deepEqual(again.story, ['moduleCacheHit', 'moduleCacheHit', 'moduleCacheHit'], `${place}: mended`)
        t.deepEqual(litter(cache), [], place)
      }
      fs.rmSync(at, { recursive: true, force: true })
      fs.renameSync(aside, at)
    }
  }
})

test.serial('in the place of a lock', async (t) => {
  for (const impostor of some(Object.keys(IMPOSTORS), 0)) {
    const cache = await filled(t)
    // A lock's name is its entry's, and is there only while it is held.
    for (const entry of entries(cache)) {
      const lock = entry.replace(/\.cwasm$/, '.lock')
      const aside = path.join(folder(t), 'aside')
      fs.writeFileSync(aside, 'precious')
      fs.rmSync(entry)
      IMPOSTORS[impostor](lock, aside)
      const { failures } = await endure(t, made, made.job(...WAYS), { cache })
      for (const failure of failures) t.is(failure.path, lock, impostor)
      t.is(fs.readFileSync(aside, 'utf8'), 'precious', impostor)
      fs.rmSync(lock, { recursive: true, force: true })
    }
    const { story } = await endure(t, made, made.job(...WAYS), { cache })
    t.false(story.includes('cacheWriteFailed'), impostor)
  }
})
