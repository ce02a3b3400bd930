'use strict'

// Which engine a module is compiled by, where the choice is ours: `engine: 'auto'`.
//
// A module of which nothing is known runs on the built-in engine. Its bytes are left for another process (./seen.js), which
// makes the artifact, or finds out why it cannot, and writes a verdict. A verdict for this package's engine is changed when
// its runs show that it is not the better one (../process/watch.js).
//
// Promise: a wrong verdict costs time, and cannot make a result wrong. Nothing here throws.

const fs = require('node:fs')
const path = require('node:path')

const { locate, replace, verdictFile } = require('./folder.js')
const { available } = require('./memory.js')
const { littleIn, runOf } = require('./run.js')
const { sample, sampleAddress } = require('./sample.js')
const { state } = require('./state.js')

const FORMAT = 1
const DAY = 24 * 60 * 60 * 1000 // ms

/** Name -> what was found of it in this process, or undefined where there was none. */
const found = new Map()

const version = () => require('../../package.json').version

/** Those that this process follows, and that its end may change. */
const used = new Map()

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
}

const isCurrent = (verdict) =>
  verdict.format === FORMAT &&
  verdict.package === version() &&
  (verdict.engine === 'ours' || verdict.engine === 'builtin') &&
  typeof verdict.reason === 'string' &&
  Object.hasOwn(VOID, verdict.basis) &&
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

/** The verdict that is in force; undefined where there is none. */
function look(name) {
  if (!found.has(name)) {
    const verdict = read(name)
    found.set(name, verdict !== undefined && verdict !== null && isCurrent(verdict) ? verdict : undefined)
  }
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
 * Writes a verdict.
 *
 * @param {string[]} names
 * @param {object} verdict {engine, basis, reason, source, partition, size, evidence, …}
 */
function write(names, verdict) {
  const text = JSON.stringify({ ...makers(), made: Date.now(), ...verdict }, null, 1)
  for (const name of names) {
    try {
      replace(verdictFile(name), text)
    } catch {
      // The next run starts from nothing.
    }
  }
}

const builtin = (reason, name) => ({ engine: 'builtin', reason, name, known: undefined })

/**
 * The engine for some bytes.
 *
 * @param {Uint8Array} bytes
 * @param {{partition: string, minSize: number, cache: number}} options as ../compile/options.js reads them
 * @returns {{engine: 'ours' | 'builtin', reason: string, name?: string, known?: object}} `name`: by which it is known;
 *   undefined where nothing is to be found out
 */
function choose(bytes, { partition, minSize, cache }) {
  if (bytes.length < minSize) return builtin('smaller than minSize')
  if (state.isSuspending) return builtin('stack switching (JSPI)')
  const { access } = locate()
  if (Math.min(access, cache) === 0) return builtin('no cache')
  return chooseByName(sample(bytes.length, (from, to) => bytes.subarray(from, to), partition))
}

function chooseByName(name) {
  const known = look(name)
  if (known === undefined) return builtin('not known yet', name)
  if (known.engine === 'ours') used.set(name, known)
  else if (known.basis === 'little') reconsider(name, known)
  return { engine: known.engine, reason: known.reason, name, known }
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
function chooseByAddress(address, { partition, cache }) {
  if (Math.min(locate().access, cache) === 0) return undefined
  const choice = chooseByName(sampleAddress(address, partition))
  return choice.known === undefined ? undefined : choice
}

/** The artifact that a verdict speaks of is not there: the module is not known any more. */
function forget(name) {
  found.set(name, undefined)
  used.delete(name)
}

module.exports = {
  available,
  choose,
  chooseByAddress,
  forget,
  list,
  inUse: () => [...used].filter(([, { engine }]) => engine === 'ours'),
  write,
}
