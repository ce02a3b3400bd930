'use strict'

// Has the process use a remote cache: its settings, and the thread that reaches it (./service.js), which starts with the first
// module that is not in the cache, or at once where the cache has nothing; where native code reads the remote itself, with the
// first thing that it leaves to the thread.

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { fileURLToPath } = require('node:url')

const { cacheAccess, isUnlimited } = require('../process/permission.js')
const { environment } = require('../process/started.js')
const { Away } = require('./away.js')
const { directOf } = require('./direct.js')
const { environmentOf } = require('./settings.js')

const SERVICE = path.join(__dirname, 'remote-service.js')

// What a process leaves to another one to do, that one may do in its name.
const OWNER = 'WASM_COMPILE_CACHE_REMOTE_OWNER'

let settings
let isDirect = false
let isRunning = false

/** Says what keeps the service from its work, once. */
function warn({ message, code = 'ERR_WASM_REMOTE' }) {
  process.emitWarning(message, { code })
}

function start() {
  if (isRunning) return
  isRunning = true
  const { Worker } = require('node:worker_threads')
  try {
    const service = new Worker(SERVICE, {
      workerData: { settings, environment, owner: environment[OWNER] },
      // What the program was started with, and what it has taken out of its environment since.
      env: { ...environment },
      execArgv: [],
      stdin: false,
      stdout: true,
      stderr: true,
    })
    service.on('message', warn)
    service.on('error', warn)
    // After them: a listener keeps the process.
    service.unref()
  } catch (error) {
    warn(error)
  }
}

/** Whether nothing was ever stored in the cache. */
function isEmpty(root) {
  try {
    return !fs.readdirSync(root).some((name) => /^v\d/.test(name))
  } catch {
    return true
  }
}

/** What the program may do with the remote; undefined: nothing. Threads have not its limits in all versions of Node. */
function permitted(given) {
  if (isUnlimited() || new URL(given.url).protocol !== 'file:') return given
  let access
  try {
    access = cacheAccess(fileURLToPath(given.url))
  } catch {
    // It is no address of a folder, which the thread says.
    return given
  }
  return access === 0 ? undefined : { ...given, writes: given.writes && access === 2 }
}

/** What native code has to know; undefined where it is left to the thread, which says what is wrong with an address. */
function directly(given, native, failures) {
  try {
    return isUnlimited() ? directOf(given, native, environment, failures) : undefined
  } catch {
    return undefined
  }
}

/**
 * @param {object} native
 * @param {object} asked of ./settings.js
 * @param {string | null} root where the cache is
 */
function use(native, asked, root) {
  const given = permitted(asked)
  if (given === undefined) return
  // A process that begins while it is left alone has nothing of it to pay for.
  const away = new Away(root)
  if (away.isAway()) return
  const direct = directly(given, native, away.file)
  if (!native.remoteUse(given.writes, start, direct)) return
  isDirect = direct !== undefined
  settings = given
  // Processes that are left behind have it, too.
  Object.assign(environment, environmentOf(given))
  environment[OWNER] ??= crypto.randomUUID()
  if (!isDirect && isEmpty(root)) start()
}

/** Starts the thread, for a process that waits for it without its event loop; undefined if it is not needed. */
const starter = () => (settings === undefined || isRunning ? undefined : start)

/** The same for who waits for a module that is missing. */
const starterForMissing = () => (isDirect ? undefined : starter())

module.exports = { starter, starterForMissing, use }
