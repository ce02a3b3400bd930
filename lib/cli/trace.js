'use strict'

const fs = require('node:fs')
const path = require('node:path')

const { Failure } = require('./failure.js')
const { endAs, runScript } = require('./script.js')

const FILE = 'wasm-compile-cache-trace.json'

/** Before the script runs: afterwards it is too late for another name. */
function checkWritable(file) {
  const found = fs.statSync(file, { throwIfNoEntry: false })
  if (found?.isDirectory()) throw new Failure(`${file} is a directory`, 'EISDIR')
  fs.accessSync(found === undefined ? path.dirname(file) : file, fs.constants.W_OK)
}

/** Writes the trace; what is wrong with that, or undefined. The command ends as the script did even so. */
function write(file, events) {
  try {
    fs.writeFileSync(file, JSON.stringify({ traceEvents: events, displayTimeUnit: 'ms' }))
    return undefined
  } catch ({ code, message }) {
    return { code, message }
  }
}

module.exports = {
  usage: 'trace <script> [args...]',
  summary: 'run a script, and write a Chrome trace of its modules',
  help: `
Like run. The events of the script and of the processes that it starts go into a file for https://ui.perfetto.dev or
chrome://tracing, whose path is printed on stderr.`,
  options: (command) => command.option('-o, --output <file>', 'the trace', FILE),
  passes: true,

  async run([script, args], { directory, json = false, output }, { error }) {
    // The script may be one that goes elsewhere, and removes where it was.
    const file = path.resolve(output)
    checkWritable(file)
    const ended = await runScript([script, ...args], { directory, trace: true })
    const { events, code, signal } = ended
    const failure = write(file, events)
    const told = failure === undefined ? error.dim(`${events.length} events: ${file}`) : `${error.red('error:')} ${failure.message}`
    const line = json ? JSON.stringify({ code, signal, file, events: events.length, error: failure }) : told
    process.stderr.write(`${line}\n`)
    return { code: endAs(ended) }
  },
}
