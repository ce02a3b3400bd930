'use strict'

const fs = require('node:fs')

const { formatSize } = require('../cache/quantities.js')
const { Failure } = require('./failure.js')
const { judge } = require('./known.js')
const { open } = require('./open.js')
const { addOptions, openRemote } = require('./remote.js')
const { table } = require('./screen.js')
const { collect } = require('./targets.js')

const COLORS = { stored: 'green', present: 'green', absent: 'yellow', failed: 'red' }

/** What is to be had: of the targets, or all that is there for this machine. */
async function wanted(targets, remote, { partition }) {
  if (targets.length === 0) {
    const keys = await remote.keys()
    if (keys === undefined) {
      throw new Failure('this service cannot list what it has: name the modules, as for `warm`', 'ERR_WASM_REMOTE')
    }
    return { modules: keys.map((key) => ({ key, source: key })), failures: [] }
  }
  const { native } = require('../process/native.js')
  const { readOptions } = require('../compile/options.js')
  const { native: options } = readOptions({ partition }, 'pull')
  const { modules, failures } = collect(targets)
  const found = modules.map(({ name, url }) => {
    if (url.protocol !== 'file:') throw new Failure(`${name} is no file: pull finds modules by their bytes`, 'ERR_WASM_REMOTE')
    const bytes = fs.readFileSync(url)
    const hash = native.hashOf(bytes)
    return { key: native.cacheExplain(hash, bytes.length, options).key, source: name, hash, bytes }
  })
  return { modules: found, failures }
}

async function fetchOne(remote, known, { key, source, hash, bytes }, partition) {
  const { native } = require('../process/native.js')
  const told = (status, more) => ({ key, source, status, ...more })
  try {
    const present = known.get(key)
    const object = present === undefined ? await remote.get(key) : undefined
    if (present === undefined && object === undefined) return told('absent')
    const unpacked = object === undefined ? undefined : native.remoteUnpack(key, object, remote.trusted)
    if (bytes !== undefined) {
      judge({ outcome: 'known', hash, artifactBytes: present?.bytes ?? unpacked }, { bytes, name: source, partition })
    }
    return object === undefined ? told('present') : told('stored', { bytes: object.length })
  } catch ({ message }) {
    return told('failed', { reason: message })
  }
}

const row = ({ key, source, status, bytes, reason }, screen) => [
  screen[COLORS[status]](status),
  key === undefined ? '' : key.slice(0, 12),
  source === key ? '' : source,
  reason ?? (bytes === undefined ? '' : formatSize(bytes)),
]

module.exports = {
  usage: 'pull [target...]',
  summary: 'take from the remote cache what this machine can use',
  help: `
Targets are as those of \`warm\`; without any, it is everything that was made for machines like this one. Nothing is compiled.
Each artifact is "stored", "present" (it was here already), "absent" or "failed"; exit code 1 if one failed.`,
  options: (command) => addOptions(command).option('--partition <name>', 'the partition of the cache', ''),

  async run([targets], options, screen) {
    const { connect } = openRemote(options)
    const cache = open(options)
    const known = new Map(cache.entries().map((entry) => [entry.key, entry]))
    const remote = connect()
    const { modules, failures } = await wanted(targets, remote, options)
    const outcomes = failures
    for (const module of modules) outcomes.push(await fetchOne(remote, known, module, options.partition))
    const text = outcomes.length === 0 ? 'Nothing is there for this machine.' : table(outcomes.map((one) => row(one, screen)))
    return { code: outcomes.some(({ status }) => status === 'failed') ? 1 : 0, json: outcomes, text }
  },
}
