'use strict'

// V8's own code of a module, for ./judge.js: made in a process (./compile-v8.js), taken by a second one as a proof, and stored.
//
// Such a process stops while it is not the judge's turn, takes no more memory than there is, and ends with the judge. What
// V8 does not survive, or what takes too much, is remembered like the code, and not tried again.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { formatSize } = require('../cache/quantities.js')
const host = require('../code/host.js')

const COMPILER = path.join(__dirname, 'compile-v8.js')
const LIMIT = 10 * 60 * 1000 // ms that such a process may run
const EVERY = 50 // ms
const PAGE = 4096 // bytes

/** Bytes that a process has in memory; 0 where that is not to be had. */
function residentSize(pid) {
  try {
    return PAGE * Number(fs.readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1])
  } catch {
    return 0
  }
}

/** Lets it run while it may, and ends it where it takes too much. @returns why it was ended, later */
function supervise(native, child, room) {
  const ended = {}
  let [mayStop, isStopped, ran] = [false, false, 0]
  const end = (why) => {
    ended.why = why
    child.kill('SIGKILL')
  }
  const look = () => {
    if (mayStop && native.isMyTurn() === isStopped) {
      isStopped = !isStopped
      child.kill(isStopped ? 'SIGSTOP' : 'SIGCONT')
    }
    if (!isStopped) ran += EVERY
    if (residentSize(child.pid) > room) end(`V8's compiler takes more than ${formatSize(room)} of memory`)
    else if (ran > LIMIT) end("V8's compiler takes more than 10 minutes")
  }
  const timer = setInterval(look, EVERY)
  native.countAsOwn(child.pid)
  // Then it ends with this process, stopped or not.
  child.stdout.once('data', () => (mayStop = true))
  child.once('close', () => {
    clearInterval(timer)
    native.countAsOwn(0)
  })
  return ended
}

/** @returns {Promise<{tag?: string, ms?: number, problem?: string}>} */
async function run(native, what, { file, facts }, code, room) {
  const child = spawn(process.execPath, [COMPILER, what, file, code, `${process.pid}`, ...facts.flags], {
    stdio: ['ignore', 'pipe', 'ignore'],
    windowsHide: true,
  })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
  const ended = supervise(native, child, room)
  const [status, signal] = await once(child, 'close')
  if (ended.why !== undefined) return { problem: ended.why }
  if (status === 0) return JSON.parse(out)
  return { problem: (out.trim() && JSON.parse(out).problem) || `V8's compiler ended with ${signal ?? status}` }
}

async function make(native, module, code, room) {
  const { facts } = module
  const compiled = await run(native, 'compile', module, code, room)
  if (compiled.problem !== undefined) return { reason: compiled.problem }
  if (compiled.tag !== facts.tag) return { reason: "V8's flags cannot be repeated" }
  const { ms, problem } = await run(native, 'take', module, code, room)
  if (problem !== undefined) return { reason: problem }
  const description = { ...host.describe(), tag: facts.tag }
  const { bytes } = native.storeHostCode(module.file, code, facts.source, facts.partition, description)
  return { bytes, ms: Math.round(ms), reason: `${formatSize(bytes)} of V8's code are kept` }
}

/**
 * @param {object} native
 * @param {{file: string, facts: object}} module
 * @param {number} room bytes that the compiler may take
 * @returns {Promise<Record<string, object> | undefined>} what is known of V8's code, by V8's tag; undefined where none is to be had
 */
async function codeOfV8(native, module, room) {
  if (!host.isThere() || module.facts.tag === undefined) return undefined
  const code = `${module.file}.code.tmp`
  try {
    return { [module.facts.tag]: await make(native, module, code, Math.floor(0.8 * room)) }
  } catch ({ message }) {
    return { [module.facts.tag]: { reason: message } }
  } finally {
    for (const file of [code, `${code}.sample`]) fs.rmSync(file, { force: true })
  }
}

module.exports = { codeOfV8 }
