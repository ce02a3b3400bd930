'use strict'

const { endAs, runScript } = require('./script.js')

// The events that say where a module's code came from.
const OUTCOMES = { moduleCacheHit: 'hit', baselineReady: 'compiled', fallback: 'builtin' }

const told = ({ name, dur = 0, args: { source, bytes, hash } }) => ({
  source,
  bytes,
  hash,
  outcome: OUTCOMES[name],
  ms: dur / 1000,
})

module.exports = {
  usage: 'run <script> [args...]',
  summary: 'run a script on this package',
  help: `
Runs node with --require wasm-compile-cache/register, and ends as the script does, by its exit code or its signal.
With --json before the script, a line of JSON on stderr says at the end where the code of each module came from ("hit",
"compiled", "builtin"). Put options for Node into NODE_OPTIONS.`,
  passes: true,

  async run([script, args], { directory, json = false }) {
    const ended = await runScript([script, ...args], { directory, trace: json })
    if (json) {
      const modules = ended.events.filter(({ name }) => Object.hasOwn(OUTCOMES, name)).map(told)
      process.stderr.write(`${JSON.stringify({ code: ended.code, signal: ended.signal, modules })}\n`)
    }
    return { code: endAs(ended) }
  },
}
