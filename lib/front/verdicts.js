'use strict'

// Which engine a module is compiled by, where the choice is ours: `engine: 'auto'`.
//
// A module of which nothing is known runs on the built-in engine. Its bytes are left for another process (./seen.js), which
// makes the artifact, or finds out why it cannot, and writes a verdict. A verdict for this package's engine is changed when
// its runs show that it is not the better one (../process/watch.js).
//
// Promise: a wrong verdict costs time, and cannot make a result wrong. Nothing here throws.

const fs = require('node:fs')
const { isDeepStrictEqual } = require('node:util')
const path = require('node:path')

const { locate, replace, verdictFile } = require('./folder.js')
const { available } = require('./memory.js')
const { compilingIn, littleIn, runOf } = require('./run.js')
const { sample, sampleAddress } = require('./sample.js')
const { state } = require('./state.js')
const host = require('../code/host.js')

const FORMAT = 1
const DAY = 24 * 60 * 60 * 1000 // ms

/** Name -> what was found of it in this process, or undefined where there was none. */
const found = new Map()

const version = () => require('../../package.json').version

/** Those that this process follows, and that its end may change. */
const used = new Map()

const inUse = () => [...used].filter(([, { engine }]) => engine === 'ours')

/** What a verdict was made with. */
const makers = () => ({ format: FORMAT, package: version(), node: process.version, v8: process.versions.v8 })

/**
 * What voids a verdict, by what it is based on. All are void for another version of this package: what it refuses, and what
 * its code costs, may be different.
 */
const VOID = {
  artifact: () => false,
  refused: () => false,
  imports: ({ node, v8 }) => node !== process.version || v8 !== process.versions.v8,
  little: () => false,
  use: ({ node, v8 }) => node !== process.version || v8 !== process.versions.v8,
  failed: ({ made }) => Date.now() - made > DAY,
  memory: ({ needed }) => available() >= needed,
  chosen: () => false,
}

/** Modules that stay on the built-in engine, and that V8's own code may serve. */
const CODED = ['refused', 'imports', 'use', 'chosen']

const isRecord = (value) => typeof value === 'object' && value !== null

const isCurrent = (verdict) =>
  verdict.format === FORMAT &&
  verdict.package === version() &&
  (verdict.engine === 'ours' || verdict.engine === 'builtin') &&
  typeof verdict.reason === 'string' &&
  Object.hasOwn(VOID, verdict.basis) &&
  (verdict.codes === undefined || (isRecord(verdict.codes) && Object.values(verdict.codes).every(isRecord))) &&
  !VOID[verdict.basis](verdict)

function read(name) {
  const file = verdictFile(name)
  if (!fs.existsSync(file)) return undefined
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'))
  } catch {
    // It went meanwhile, or is not what this package writes.
    return undefined
  }
}

/** What the file says now, if that is in force. */
function readCurrent(name) {
  const verdict = read(name)
  return verdict !== undefined && verdict !== null && isCurrent(verdict) ? verdict : undefined
}

/** The verdict that is in force in this process; undefined where there is none. */
function look(name) {
  if (!found.has(name)) found.set(name, readCurrent(name))
  return found.get(name)
}

/** All that are in force: {name, engine, reason, …}. */
function list() {
  let files
  try {
    files = fs.readdirSync(path.dirname(verdictFile('')))
  } catch {
    return []
  }
  // The others say the same of an address.
  const names = files.filter((file) => /^[0-9a-f]+-[0-9a-f]+\.json$/.test(file)).map((file) => path.basename(file, '.json'))
  return names.map((name) => ({ name, ...look(name) })).filter(({ engine }) => engine !== undefined)
}

/**
 * Writes a verdict, which this process follows, too, from here on.
 *
 * @param {string[]} names
 * @param {object} verdict {engine, basis, reason, source, partition, size, evidence, …}
 */
function write(names, verdict) {
  // Also what is changed was found out by this Node.
  const whole = { made: Date.now(), ...verdict, ...makers() }
  const text = JSON.stringify(whole, null, 1)
  for (const name of names) {
    found.set(name, whole)
    try {
      replace(verdictFile(name), text)
    } catch {
      // The next run starts from nothing.
    }
  }
}

const NOT_KNOWN = 'not known yet'
const ASKED_FOR = 'the built-in engine is asked for'
const ASKS = 'it asks for JS string builtins'
const SUSPENDS = 'its program suspends stacks'

/** Why a module is the built-in's, whatever else is known of it. */
function chosenFor({ standard, isSuspending }) {
  if (standard !== '') return ASKS
  return isSuspending ? SUSPENDS : ASKED_FOR
}

const builtin = (reason, name = undefined, isBuiltin = false) => ({
  engine: 'builtin',
  reason,
  name,
  known: undefined,
  isAsked: name !== undefined,
  isIdle: false,
  isBuiltin,
  hasCode: false,
})

/**
 * The engine for some bytes.
 *
 * @param {Uint8Array} bytes
 * @param {{partition: string, minSize: number, cache: number, standard: string}} options as ../compile/options.js reads them;
 *   `standard`: the standard's own (../code/standard.js), by which only the built-in compiles
 * @param {boolean} [isBuiltin] the built-in's, whichever is the better one: what is to be known is its code
 * @returns {{engine: 'ours' | 'builtin', reason: string, name?: string, known?: object, isAsked: boolean, isIdle: boolean, isBuiltin: boolean, hasCode: boolean, standard: string, isSuspending: boolean}}
 *   `name`: by which it is known; `isAsked`: whether something is to be found out; `isIdle`: whether V8 is to be asked at the
 *   end what it did with the module, to see whether something is; `hasCode`: whether V8's code was kept
 */
function choose(bytes, { minSize, cache, ...about }, isBuiltin = state.isBuiltin) {
  if (bytes.length < minSize) return builtin('smaller than minSize')
  const { access } = locate()
  if (Math.min(access, cache) === 0) return builtin('no cache')
  const name = sample(bytes.length, (from, to) => bytes.subarray(from, to), about)
  return chooseAs(name, about, isBuiltin)
}

function chooseAs(name, about, isBuiltin) {
  const { standard } = about
  const isSuspending = state.isSuspending && !isBuiltin
  const isChosen = isBuiltin || isSuspending || standard !== ''
  return { ...chooseByName(name, isChosen, chosenFor({ standard, isSuspending })), standard, isSuspending }
}

function chooseByName(name, isBuiltin, chosen) {
  if (isBuiltin && !host.isThere()) return builtin(chosen)
  const known = look(name)
  if (known === undefined || (known.basis === 'chosen' && !isBuiltin)) return builtin(NOT_KNOWN, name, isBuiltin)
  if (known.engine === 'ours' && !isBuiltin) {
    if (isRepeated(name, known)) return { ...builtin(`${known.reason}; measured once more`), name, known: look(name) }
    used.set(name, known)
    return { engine: 'ours', reason: known.reason, name, known, isAsked: false, isIdle: false, isBuiltin, hasCode: false }
  }
  if (known.basis === 'little') reconsider(name, known)
  const code = codeOf(known, isBuiltin)
  const hasCode = code?.bytes !== undefined
  if (hasCode || code?.isIdle) follow(name, known)
  const ground = known.engine === 'ours' ? chosen : known.reason
  const reason = code?.reason === undefined ? ground : `${ground}; ${code.reason}`
  const isAsked = code === undefined || code.isPartial === true
  return { engine: 'builtin', reason, name, known, isAsked, isIdle: code?.isIdle === true, isBuiltin, hasCode }
}

/** Verdicts for ours of which this process does not make use, so that the built-in engine is measured once more. */
const repeated = new Set()

/**
 * The run that ours is compared with may have been the first on this machine, which read everything from a disk. All modules of a
 * process stay together.
 */
function isRepeated(name, known) {
  if (repeated.has(name)) return true
  const isWanted = known.again === 'wanted' && isSameCommand(known) && locate().access === 2
  if (repeated.size === 0) {
    if (!isWanted || state.isEngaged || inUse().length > 0) return false
    process.on('exit', compareAgain)
  }
  repeated.add(name)
  // Once, however this process ends.
  if (isWanted) write([name], { ...known, again: 'done' })
  return true
}

/** The program may have put anything into process.argv. */
function isSameCommand({ run }) {
  try {
    return run?.argv === runOf().argv
  } catch {
    return false
  }
}

/** The shorter one of the two runs counts. */
function compareAgain() {
  try {
    const run = runOf()
    for (const name of repeated) {
      const known = readCurrent(name)
      if (known?.run?.argv === run.argv && run.wall < known.run.wall) write([name], { ...known, run })
    }
  } catch {
    // They stay as they are.
  }
}

const NO_CODE = {}

/** What is known of V8's code of a module for this V8 and its flags; undefined where that is to be found out. */
function codeOf({ basis, codes = NO_CODE }, isBuiltin) {
  const isWanted = isBuiltin ? basis !== 'little' : CODED.includes(basis)
  const code = isWanted && host.isThere() ? codes[host.tag()] : NO_CODE
  // There was no room.
  return code?.needed !== undefined && available() >= code.needed ? undefined : code
}

/** What is known of V8's code of a module where no more is made of it, for this reason: what there is stays. */
const withoutMore = (code, { reason, needed }) => (code?.bytes === undefined ? { reason, needed } : { ...code, isPartial: false })

/**
 * A verdict for the built-in engine that was to show whether V8's code takes less than this package's engine does: where there is
 * none, or none that does, it is for this package's engine after all.
 *
 * @param {object} verdict
 * @param {string} tag of the V8 of which the code would be
 */
function settled(verdict, tag) {
  const { ours, ...others } = verdict
  const code = verdict.codes?.[tag]
  if (!isRecord(ours) || code === undefined || code.bytes !== undefined) return verdict
  const reason = `${ours.reason}; of V8's code: ${code.reason}`
  return { ...others, engine: 'ours', basis: 'artifact', reason, isTried: true }
}

/** Runs on V8's code, and what they took: ./trial.js. */
function follow(name, known) {
  if (followed.has(name)) return
  if (followed.size === 0) process.on('exit', judgeRuns)
  followed.set(name, known)
}

const followed = new Map()

/** As often functions are added that other runs call. */
const ROUNDS = 3

/** V8 has compiled much if it was more than this of what it compiled without the code. */
const MUCH = 0.3

/** What this run says of V8's code. */
function news(name, { run: first, ours }, { runs, rounds, isPartial, isIdle }, run) {
  // The next one is asked.
  if (isIdle) return littleIn(run) === undefined && require('./seen.js').budgetsOf(name) !== undefined ? undefined : {}
  const compared = require('./trial.js').withRunOfCode({ run: first, runs, ours }, run)
  if (compared?.isWorse) {
    return { bytes: undefined, isPartial: false, reason: `its code took ${compared.times}`, runs: compared.runs }
  }
  // V8 compiled much in spite of it, by a run that calls other functions.
  const isMuch = rounds < ROUNDS && littleIn(run) === undefined && compilingIn(run) > MUCH * (compilingIn(first ?? run) ?? 0)
  return { ...(compared === undefined ? {} : { runs: compared.runs }), ...(isMuch || isPartial ? { isPartial: isMuch } : {}) }
}

/** Whether V8's code was worth it, as far as this run can say. */
function judgeRuns() {
  try {
    const run = runOf()
    for (const [name, verdict] of followed) {
      // Another process has found out more meanwhile.
      if (!isDeepStrictEqual(readCurrent(name), verdict)) continue
      const tag = host.tag()
      const { [tag]: before, ...others } = verdict.codes
      const found = news(name, verdict, before, run)
      const codes = found === undefined ? others : { ...others, [tag]: { ...before, ...found } }
      if (locate().access === 2 && !isDeepStrictEqual(codes, verdict.codes)) write([name], settled({ ...verdict, codes }, tag))
    }
  } catch {
    // They stay as they are.
  }
}

/**
 * Runs of one program differ: after one in which V8 compiled more than before, the module is not known any more, and the next
 * run leaves it.
 */
function reconsider(name, known) {
  if (used.has(name)) return
  used.set(name, known)
  process.on('exit', () => {
    try {
      if (locate().access === 2 && littleIn(runOf()) === undefined) fs.rmSync(verdictFile(name), { force: true })
    } catch {
      // It stays as it is.
    }
  })
}

/** The engine for what comes from an address; undefined where nothing is known of it. */
function chooseByAddress(address, { cache, ...about }) {
  if (Math.min(locate().access, cache) === 0) return undefined
  const choice = chooseAs(sampleAddress(address, about), about, state.isBuiltin)
  return choice.known === undefined ? undefined : choice
}

/** V8's code that a verdict speaks of is not there, or not taken: it is to be found out again. */
function forgetCode(name) {
  const known = found.get(name)
  if (known?.codes === undefined) return
  const { [host.tag()]: _gone, ...codes } = known.codes
  followed.delete(name)
  found.set(name, { ...known, codes })
  if (locate().access === 2) write([name], found.get(name))
}

/** The artifact that a verdict speaks of is not there: the module is not known any more. */
function forget(name) {
  found.set(name, undefined)
  used.delete(name)
}

module.exports = {
  CODED,
  NOT_KNOWN,
  available,
  choose,
  chooseByAddress,
  chosenFor,
  forget,
  forgetCode,
  list,
  readCurrent,
  settled,
  withoutMore,
  inUse,
  write,
}
