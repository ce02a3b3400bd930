'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { endAs, runScript } = require('./script.js')

const FILE = 'wasm-compile-cache-trace.json'

module.exports = {
  usage: 'trace <script> [args...]',
  summary: 'run a script, and write a Chrome trace of what became of its modules',
  help: `
As run does, and the events of the script and of the processes it starts go into a file for https://ui.perfetto.dev or
chrome://tracing. Where that is, is said on stderr.`,
  options: (command) => command.option('-o, --output <file>', 'the trace', FILE),
  passes: true,

  async run([script, args], { directory, json = false, output }, { error }) {
    // The script may be one that goes elsewhere, and removes where it was.
    const file = path.resolve(output)
    const ended = await runScript([script, ...args], { directory, trace: true })
    const { events, code, signal } = ended
    fs.writeFileSync(file, JSON.stringify({ traceEvents: events, displayTimeUnit: 'ms' }))
    const line = json ? JSON.stringify({ code, signal, file, events: events.length }) : error.dim(`${events.length} events: ${file}`)
    process.stderr.write(`${line}\n`)
    return { code: endAs(ended) }
  },
}
