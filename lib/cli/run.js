'use strict'

const path = require('node:path')

const { locate, move } = require('../front/folder.js')
const { list } = require('../front/verdicts.js')
const { ENGINES, table } = require('./screen.js')
const { endAs, runScript } = require('./script.js')
const { settle } = require('./settle.js')

// The events that say where a module's code came from.
const OUTCOMES = { moduleCacheHit: 'hit', baselineReady: 'compiled', fallback: 'builtin' }

const told = ({ name, dur = 0, args: { source, bytes, hash } }) => ({
  source,
  bytes,
  hash,
  outcome: OUTCOMES[name],
  ms: dur / 1000,
})

/** Waits until it is known which engine runs the modules that were not known when the script began. @returns the verdicts */
async function verdictsSince(time, directory) {
  if (directory !== undefined) move(path.resolve(directory), 2)
  const { root, access } = locate()
  if (access < 2) return []
  await settle(root, time)
  return list().filter(({ made }) => made >= time)
}

/** What a verdict says, with what it says of V8's code. */
function verdictRow({ engine, reason, codes = {}, source, size }) {
  const code = Object.values(codes).at(-1)
  return [`${ENGINES[engine]}:`, code === undefined ? reason : `${reason}; ${code.reason}`, source || `${size} bytes`]
}

module.exports = {
  usage: 'run <script> [args...]',
  summary: 'run a script on this package',
  help: `
Runs node with --require wasm-compile-cache/register, and ends as the script does, by its exit code or its signal.
With --json before the script, a line of JSON on stderr says at the end where the code of each module came from ("hit",
"compiled", "builtin"). Put options for Node into NODE_OPTIONS.

With --wait it ends when it is known which engine runs the script's modules, and their code is stored: this engine's, or V8's of
the functions that were called. stderr says what was found out. So the next run has it all, as that of an image does in whose
Dockerfile this is.`,
  options: (command) => command.option('--wait', 'wait for what is otherwise found out after the script'),
  passes: true,

  async run([script, args], { directory, json = false, wait = false }) {
    const since = Date.now()
    const ended = await runScript([script, ...args], { directory, trace: json, isWaitedFor: wait })
    const verdicts = wait ? await verdictsSince(since, directory) : []
    if (json) {
      const modules = ended.events.filter(({ name }) => Object.hasOwn(OUTCOMES, name)).map(told)
      const found = verdicts.map(({ engine, reason, source }) => ({ engine, reason, source }))
      process.stderr.write(
        `${JSON.stringify({ code: ended.code, signal: ended.signal, modules, ...(wait && { verdicts: found }) })}\n`
      )
    } else if (verdicts.length > 0) process.stderr.write(`${table(verdicts.map(verdictRow))}\n`)
    return { code: endAs(ended) }
  },
}
