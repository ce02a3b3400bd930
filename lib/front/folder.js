'use strict'

// Where the cache is, for what is asked before native code is loaded: the folders in it that JavaScript writes.
//
//   <cache>/seen/<name>.wasm       a module that ran on the built-in engine and is not known; for ../process/judge.js
//   <cache>/seen/<name>.json       what is known of the run; before it ends, by itself, that somebody will leave the module
//   <cache>/seen/<name>.calls.tmp  which of its functions were called (../code/calls.js)
//   <cache>/verdicts/<name>.json   which engine is the better one for it, and why
//
// Nothing here is trusted: a verdict chooses between two engines that give the same results, and code is found by the hash
// of the module, in files that carry a seal (SECURITY.md).

const fs = require('node:fs')
const path = require('node:path')

const { cacheAccess } = require('../process/permission.js')
const started = require('../process/started.js')

const NAME = 'wasm-compile-cache'

/** As the native side has it (crates/store/src/folder.rs); undefined where the system names no folder. */
function defaultFolder() {
  const os = require('node:os')
  const { HOME, XDG_CACHE_HOME } = started.environment
  const home = HOME || os.homedir()
  const named = path.isAbsolute(XDG_CACHE_HOME ?? '') ? XDG_CACHE_HOME : path.join(home, '.cache')
  const folder = process.platform === 'darwin' ? path.join(home, 'Library', 'Caches') : named
  return path.isAbsolute(folder) ? path.join(folder, NAME) : undefined
}

let located

/** The cache's folder, and what may be done with it: 0 nothing, 1 look up, 2 store as well. */
function locate() {
  if (located !== undefined) return located
  const { WASM_COMPILE_CACHE, WASM_DISABLE_COMPILE_CACHE } = started.environment
  let root
  try {
    root = WASM_COMPILE_CACHE ? (started.directory ?? path.resolve(WASM_COMPILE_CACHE)) : defaultFolder()
  } catch {
    // The user has no home, or the process no folder.
  }
  const access = root === undefined || WASM_DISABLE_COMPILE_CACHE === '1' ? 0 : cacheAccess(root)
  located = { root, access: access > 0 && belongsToOthers(root) ? 0 : access }
  return located
}

/** Whether a module of which nothing is known may be left for another process. */
const mayLeave = ({ cache, finish }) =>
  finish && Math.min(locate().access, cache) === 2 && started.environment.WASM_COMPILE_CACHE_FINISH !== '0'

/** A program has put the cache somewhere else (../cache/cache.js). */
function move(root, access) {
  located = { root, access: Math.min(access, cacheAccess(root)) }
}

/** What native code refuses to use, too; also what cannot be looked at. Never throws: a compile asks. */
function belongsToOthers(root) {
  let found
  try {
    found = fs.lstatSync(root, { throwIfNoEntry: false })
  } catch {
    return true
  }
  if (found === undefined) return false
  if (!found.isDirectory()) return true
  return process.geteuid !== undefined && (found.uid !== process.geteuid() || (found.mode & 0o022) !== 0)
}

/** Where a file is written, until it is whole. */
const asideOf = (file) => `${file}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`

/**
 * Makes a file whole, as soon as its name exists. Throws what the file system does.
 *
 * @param {string} file
 * @param {string | Uint8Array | {file: string}} content
 */
function replace(file, content) {
  fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
  const aside = asideOf(file)
  try {
    if (content.file === undefined) fs.writeFileSync(aside, content, { flag: 'wx', mode: 0o600 })
    else {
      fs.copyFileSync(content.file, aside, fs.constants.COPYFILE_EXCL)
      fs.chmodSync(aside, 0o600)
    }
    fs.renameSync(aside, file)
  } catch (error) {
    fs.rmSync(aside, { force: true })
    throw error
  }
}

const inFolder = (folder, name) => path.join(locate().root, folder, name)

/** @param {string} name as ./sample.js gives it */
const seenModule = (name) => inFolder('seen', `${name}.wasm`)
const seenRun = (name) => inFolder('seen', `${name}.json`)

/** When the file was written, in ms; undefined where there is none, or not for us to see. */
function writtenAt(file) {
  try {
    return fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs
  } catch {
    return undefined
  }
}

const RETRY = 60 * 1000 // ms: then nobody takes up what was left

/** When a module's bytes were left, and when a word of it was; whether it is about to be taken up. */
function leftAt(name) {
  const bytes = writtenAt(seenModule(name))
  const written = bytes ?? writtenAt(seenRun(name))
  return { bytes, written, isRecent: written !== undefined && Date.now() - written < RETRY }
}

module.exports = {
  asideOf,
  leftAt,
  locate,
  mayLeave,
  move,
  replace,
  seenModule,
  seenRun,
  seenBudgets: (name) => inFolder('seen', `${name}.calls.tmp`),
  verdictFile: (name) => inFolder('verdicts', `${name}.json`),
}
