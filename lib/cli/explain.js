'use strict'

const fs = require('node:fs')

const { formatSize } = require('../cache/quantities.js')
const { choose, list } = require('../front/verdicts.js')
const { Failure } = require('./failure.js')
const { open } = require('./open.js')
const { parsedSize } = require('./arguments.js')
const { ENGINES, table } = require('./screen.js')

const WORDS = {
  absent: 'it was never stored, or was evicted',
  'other-partition': 'it is stored for another partition only',
  'other-engine': 'it is stored for another engine or machine only',
  'too-small': 'modules this small are not cached',
  unsupported: 'this engine does not compile it',
}

/** Why this engine does not take the module; undefined if it does. */
function refusal(bytes, file) {
  const { Module, validate } = require('../../index.js')
  if (validate(bytes)) return undefined
  try {
    new Module(bytes, { cache: false, optimize: false })
    return undefined
  } catch ({ code, feature, message }) {
    if (code === 'ERR_WASM_UNSUPPORTED') return feature
    throw new Failure(`${file} is not a valid module: ${message.replace('WebAssembly.Module(): ', '')}`, code)
  }
}

function lookUp(bytes, { partition, minSize }) {
  const { native } = require('../process/native.js')
  const { readOptions } = require('../compile/options.js')
  const hash = native.hashOf(bytes)
  const options = readOptions({ partition, minSize }, 'explain').native
  const nothing = { outcome: 'miss', reason: 'absent', near: [] }
  return { hash, ...(native.cacheExplain(hash, bytes.length, options) ?? nothing) }
}

/** What is known of a module that programs compile as it is; else, as they do with options of the standard's. */
function choiceFor(bytes, { partition, minSize }) {
  const choiceAs = (standard) => choose(bytes, { partition, minSize, cache: 1, standard })
  const plain = choiceAs('')
  if (plain.known !== undefined) return plain
  const others = new Set(list().flatMap(({ standard }) => standard || []))
  return [...others].map(choiceAs).find(({ known }) => known !== undefined) ?? plain
}

function explain(file, options) {
  const bytes = fs.readFileSync(file)
  const feature = refusal(bytes, file)
  const found = lookUp(bytes, options)
  const { engine, reason: ground } = choiceFor(bytes, options)
  const told = { file, bytes: bytes.length, partition: options.partition, verdict: { engine, reason: ground }, ...found }
  return feature === undefined ? told : { ...told, outcome: 'miss', reason: 'unsupported', feature }
}

const short = (value) => (value.length > 60 ? `${value.slice(0, 57)}...` : value || "''")

const difference = ({ field, cached, current }) => `${field}: ${short(cached)} there, ${short(current)} here`

/** What is there of the module instead, and how it differs from what was looked for. */
function instead(other, partition) {
  const fields = other.partition === partition ? [] : [{ field: 'partition', cached: other.partition, current: partition }]
  return [['there is', other.path], ...[...fields, ...other.differs].map((field) => ['', difference(field)])]
}

function lines(
  { file, bytes, partition, hash, outcome, reason, feature, path, near, verdict: { engine, reason: ground } },
  { green, yellow, dim }
) {
  const verdict = outcome === 'hit' ? green('hit') : yellow('miss')
  const why = outcome === 'hit' ? 'it is in the cache' : (WORDS[reason] ?? `the entry cannot be used (${reason})`)
  const first = `${verdict}  ${file}, ${formatSize(bytes)}: ${why}${feature === undefined ? '' : ` (${feature})`}`
  const rows = [
    ['module', hash],
    ['register', `${ENGINES[engine]}: ${ground}`],
    ...(path === undefined ? [] : [[outcome === 'hit' ? 'entry' : 'would be', path]]),
    ...(outcome === 'hit' ? [] : near.flatMap((other) => instead(other, partition))),
  ]
  return `${first}\n${table(rows.map(([title, ...rest]) => [dim(title), ...rest]))}`
}

module.exports = {
  usage: 'explain <file>',
  summary: 'say whether a module would be found in the cache, and why not',
  help: 'Exit code 0 if it would be found, 1 if not.',
  options: (command) =>
    command
      .option('--partition <name>', 'the partition of the cache', '')
      .option('--min-size <size>', 'smaller modules are not cached', parsedSize, 131072),

  run([file], options, screen) {
    open(options, { mode: 'read-only' })
    const explained = explain(file, options)
    return { code: explained.outcome === 'hit' ? 0 : 1, json: explained, text: lines(explained, screen) }
  },
}
