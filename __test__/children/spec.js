'use strict'
// Runs scripts of the core specification on the built-in and on our engine. What to do comes as JSON in the first
// argument: {program, mode, names}; what came of it goes to stdout, a line of JSON a script.

const assert = require('node:assert')
const { writeSync } = require('node:fs')
const { isDeepStrictEqual } = require('node:util')

const initWabt = require('wabt')

const ours = require('../../index.js').WebAssembly
const { ALIKE, LACKING, NEWER } = require('../spec/features.js')
const { Interpreter, wrappers } = require('../spec/interpreter.js')
const { load } = require('../spec/scripts.js')

const isOfTier = (tier) => async (module) => assert.equal(ours.Module.tier(module), tier)

const MODES = {
  baseline: { options: { cache: false, optimize: false, baseline: 'eager' }, prepare: isOfTier('baseline') },
  lazy: { options: { cache: false, optimize: false, baseline: 'lazy' }, prepare: isOfTier('baseline') },
  optimized: { options: { minSize: 0 }, prepare: (module) => ours.Module.optimized(module) },
  hot: { options: { minSize: 0 }, prepare: isOfTier('optimized') },
}

const BUILTIN = { WebAssembly: globalThis.WebAssembly, lacking: [], newer: [], async prepare() {} }

const count = (outcomes, result) => outcomes.filter((one) => one.result === result).length

async function runScript(name, program, engine, assemble) {
  const script = load(program, name)
  script.wrappers = wrappers(script, assemble)
  const builtin = await new Interpreter(BUILTIN, script).run()
  const outcomes = await new Interpreter(engine, script).run()
  const differences = []
  const words = []
  script.commands.forEach(({ type, line }, index) => {
    const [theirs, mine] = [builtin[index], outcomes[index]]
    const where = `${name}:${line} ${type}`
    if (theirs.result !== 'passed') return
    if (mine.result === 'failed') differences.push(`${where}: ${mine.why}`)
    const alike = mine.words === theirs.words || ALIKE.some((pair) => isDeepStrictEqual(pair, [mine.words, theirs.words]))
    if (mine.result === 'passed' && !alike) {
      words.push(`${where}: "${mine.words}", and the built-in's "${theirs.words}"`)
    }
  })
  return {
    name,
    builtin: { passed: count(builtin, 'passed'), failed: count(builtin, 'failed') },
    ours: { passed: count(outcomes, 'passed'), failed: count(outcomes, 'failed'), excused: count(outcomes, 'excused') },
    differences,
    words,
  }
}

async function main({ program, mode, names }) {
  const wabt = await initWabt()
  const assemble = (text) => {
    const parsed = wabt.parseWat('wrapper.wat', text)
    try {
      return parsed.toBinary({}).buffer
    } finally {
      parsed.destroy()
    }
  }
  const engine = { WebAssembly: ours, lacking: LACKING, newer: NEWER, ...MODES[mode] }
  for (const name of names) {
    writeSync(1, `${JSON.stringify({ began: name })}\n`)
    writeSync(1, `${JSON.stringify(await runScript(name, program, engine, assemble))}\n`)
  }
}

main(JSON.parse(process.argv[2]))
