'use strict'

// The start of ./judge.js.

const path = require('node:path')

const { asideOf, locate } = require('../front/folder.js')
const { detachedCommand, detachedEnvironment, startDetached } = require('./detached.js')
const { areWaitedFor } = require('./orphans.js')
const { mayHandOff } = require('./permission.js')
const { environment } = require('./started.js')

const JUDGE = path.join(__dirname, 'judge.js')

const mayJudge = () => mayHandOff() && areWaitedFor()

/** Soon, when the machine has nothing else to do; or `now`, as WASM_COMPILE_CACHE_FINISH may say. */
const isNow = environment.WASM_COMPILE_CACHE_FINISH === 'now'
const given = isNow ? ['now'] : []

/** Where this process has its cache. */
const place = () => ({ WASM_COMPILE_CACHE: locate().root })

function startJudge() {
  startDetached(JUDGE, given, place(), !isNow)
}

/**
 * The same from a process that ends, which waits for nothing of what is written but bytes that are V8's.
 *
 * @param {{leave?: Function} | undefined} shim
 * @param {[string, string | Uint8Array | {file: string}][]} parts a file, and what is to be in it
 * @returns {boolean} false where that cannot be
 */
function leaveToJudge(shim, parts) {
  if (shim?.leave === undefined) return false
  const env = Object.entries({ ...detachedEnvironment(), ...place() }).filter(([, value]) => value !== undefined)
  const files = parts.map(([file, content]) => [
    file,
    asideOf(file),
    typeof content === 'string' ? Buffer.from(content) : (content.file ?? content),
  ])
  const all = env.map(([name, value]) => `${name}=${value}`)
  return shim.leave(files, detachedCommand(JUDGE, given, !isNow), all) !== undefined
}

module.exports = { leaveToJudge, mayJudge, startJudge }
