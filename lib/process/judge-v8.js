'use strict'

// V8's own code of a module, for ./judge.js: made in a process (./compile-v8.js), taken by a second one as a proof, and stored.
//
// Such a process stops while it is not the judge's turn, takes no more memory than there is, and ends with the judge. What
// V8 does not survive, or what takes too long, is remembered like the code, and not tried again; what takes too much memory,
// not before there is more.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { formatSize } = require('../cache/quantities.js')
const { available, bounds, shortage } = require('../front/memory.js')
const { withoutMore } = require('../front/verdicts.js')
const host = require('../code/host.js')
const { seenBudgets } = require('../front/folder.js')
const { compilingIn } = require('../front/run.js')

const COMPILER = path.join(__dirname, 'compile-v8.js')
const LIMIT = 10 * 60 * 1000 // ms that such a process may run
const EVERY = 50 // ms
const PAGE = 4096 // bytes

/** To take the code may cost so much of what V8's compilers took without it. */
const WORTH = 0.5

/** Until V8 optimises something of it, there is nothing to keep. */
const IDLE = { isIdle: true, reason: 'V8 had optimised nothing of it' }

/** Bytes that a process has in memory; 0 where that is not to be had. */
function residentSize(pid) {
  try {
    return PAGE * Number(fs.readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1])
  } catch {
    return 0
  }
}

/**
 * Lets it run while it may, and ends it where it takes too much.
 *
 * @param {number} needed bytes, about
 * @returns {{why?: string, needed?: number}} why it was ended, later; `needed`: where it was for memory
 */
function supervise(native, child, needed) {
  const { most, reserve } = bounds(available())
  const ended = {}
  let [mayStop, isStopped, ran] = [false, false, 0]
  const end = (why, more = undefined) => {
    Object.assign(ended, { why, needed: more })
    child.kill('SIGKILL')
  }
  const look = () => {
    if (mayStop && native.isMyTurn() === isStopped) {
      isStopped = !isStopped
      child.kill(isStopped ? 'SIGSTOP' : 'SIGCONT')
    }
    if (!isStopped) ran += EVERY
    const room = available()
    if (residentSize(child.pid) > most) end(`V8's compiler takes more than ${formatSize(most)} of memory`, 2 * most)
    else if (room < reserve) end(shortage(needed, room).reason, needed)
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

/** @returns {Promise<{tag?: string, ms?: number, called?: string, problem?: string, wasEnded?: boolean, needed?: number, out: string}>} */
async function run(native, what, { file, facts }, folder, profile, needed) {
  const list = [COMPILER, what, file, folder, `${process.pid}`, profile, facts.standard, ...facts.flags]
  const child = spawn(process.execPath, list, { stdio: ['ignore', 'pipe', 'ignore'] })
  let out = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
  const ended = supervise(native, child, needed)
  const [status, signal] = await once(child, 'close')
  if (ended.why !== undefined) return { problem: ended.why, wasEnded: true, needed: ended.needed, out }
  const last = out.slice(out.lastIndexOf('\n') + 1)
  const told = last.startsWith('{') ? JSON.parse(last) : {}
  if (status === 0) return { ...told, out }
  return { problem: told.problem ?? `V8's compiler ended with ${signal ?? status}`, out }
}

/** What V8 calls the file that tells it which functions to optimise; '-' where that is not known. */
async function profileOf(native, module, folder, needed) {
  if (!fs.existsSync(path.join(folder, 'calls'))) return '-'
  const { out } = await run(native, 'name', module, folder, '-', needed)
  return /'(profile-wasm-[0-9a-f]+)'/.exec(out)?.[1] ?? '-'
}

async function make(native, module, folder, needed, rounds) {
  const { facts } = module
  // Whoever wants to know now has all of it compiled.
  if (!facts.isWanted && !fs.existsSync(path.join(folder, 'calls'))) return IDLE
  const profile = await profileOf(native, module, folder, needed)
  let compiled = await run(native, 'compile', module, folder, profile, needed)
  if (compiled.problem !== undefined && profile !== '-' && !compiled.wasEnded) {
    compiled = await run(native, 'compile', module, folder, '-', needed)
  }
  const { called, problem: failure, tag } = compiled
  if (failure !== undefined) return { reason: failure, needed: compiled.needed }
  if (tag !== facts.tag) return { reason: "V8's flags cannot be repeated" }
  const { ms, problem, needed: more } = await run(native, 'take', module, folder, '-', needed)
  if (problem !== undefined) return { reason: problem, needed: more }
  const compiling = facts.run === undefined ? undefined : compilingIn(facts.run)
  if (!facts.isWanted && compiling !== undefined && ms > WORTH * compiling) {
    return { reason: `V8 compiled for ${Math.round(compiling)} ms, and would take ${Math.round(ms)} ms to take its code` }
  }
  const description = { ...host.describe(facts.standard), tag }
  const { bytes } = native.storeHostCode(module.file, path.join(folder, 'code'), facts.source, facts.partition, description)
  return { bytes, ms: Math.round(ms), called, rounds, reason: `${formatSize(bytes)} of V8's code are kept` }
}

/**
 * @param {object} native
 * @param {{name: string, file: string, facts: object}} module
 * @param {number} needed bytes that compiling it takes, about
 * @param {object} [before] what is known already, of earlier runs
 * @returns {Promise<Record<string, object> | undefined>} what is known of V8's code, by V8's tag; undefined where none is to be had
 */
async function codeOfV8(native, module, needed, before = {}) {
  const { tag } = module.facts
  if (!host.isThere() || tag === undefined) return undefined
  const folder = `${module.file}.v8.tmp`
  const { called, rounds = 0 } = before[tag] ?? {}
  try {
    fs.rmSync(folder, { recursive: true, force: true })
    fs.mkdirSync(folder, { mode: 0o700 })
    const budgets = seenBudgets(module.name)
    if (fs.existsSync(budgets)) fs.renameSync(budgets, path.join(folder, 'calls'))
    if (called !== undefined) fs.writeFileSync(path.join(folder, 'before'), called)
    const code = await make(native, module, folder, needed, rounds + 1)
    // What there is stays, where more could not be had.
    const isLess = code.bytes === undefined && before[tag]?.bytes !== undefined
    return { [tag]: isLess ? withoutMore(before[tag], code) : code }
  } catch ({ message }) {
    return { [tag]: { reason: message } }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}

module.exports = { codeOfV8 }
