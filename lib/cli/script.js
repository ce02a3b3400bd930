'use strict'

// A script of the user's, run on this package: what `run` and `trace` share.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const REGISTER = path.join(__dirname, '../register.js')

/** Whether there is a terminal to type at. Standard input may be another. */
function hasTerminal() {
  try {
    fs.closeSync(fs.openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}

// What a terminal sends to the script as well (Ctrl-C, Ctrl-\).
const TYPED = ['SIGINT', 'SIGQUIT']
// What means the script, where it is sent to us alone.
const PASSED_ON = ['SIGTERM', 'SIGHUP', 'SIGUSR2']

function passSignals(child) {
  const pass = (signal) => child.kill(signal)
  const stay = () => {}
  const isTyped = hasTerminal()
  const handlers = [...PASSED_ON.map((signal) => [signal, pass]), ...TYPED.map((signal) => [signal, isTyped ? stay : pass])]
  for (const [signal, handler] of handlers) process.on(signal, handler)
  return () => {
    for (const [signal, handler] of handlers) process.off(signal, handler)
  }
}

function eventsIn(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).traceEvents
  } catch {
    // A process that outlives the script is writing it.
    return []
  }
}

/** The events of all processes that wrote a trace in `folder`; none if the script removed that. */
function traced(folder) {
  if (!fs.existsSync(folder)) return []
  return fs
    .readdirSync(folder)
    .flatMap((name) => eventsIn(path.join(folder, name)))
    .sort((a, b) => a.ts - b.ts)
}

/**
 * Runs a script to its end, with our standard streams.
 *
 * @param {string[]} argv the script and its arguments
 * @param {{directory?: string, trace?: boolean, isWaitedFor?: boolean}} options `isWaitedFor`: what is to be done after the
 *   script is left to the caller (./settle.js)
 * @returns {Promise<{code: number | null, signal: string | null, events: object[]}>} `events`: with `trace`, those of the
 *   script and of the processes it started, in the form of a Chrome trace
 */
async function runScript(argv, { directory, trace = false, isWaitedFor = false }) {
  const env = { ...process.env }
  if (directory !== undefined) env.WASM_COMPILE_CACHE = path.resolve(directory)
  if (isWaitedFor) env.WASM_COMPILE_CACHE_FINISH = 'later'
  const folder = trace ? fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-trace-')) : undefined
  if (trace) env.WASM_COMPILE_CACHE_TRACE = path.join(folder, '${pid}.json')
  try {
    const child = spawn(process.execPath, ['--require', REGISTER, ...argv], { env, stdio: 'inherit' })
    const leave = passSignals(child)
    const [code, signal] = await once(child, 'close')
    leave()
    return { code, signal, events: trace ? traced(folder) : [] }
  } finally {
    if (trace) fs.rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** What a process that ends as the script did has for an exit code; by a signal, it ends here. */
function endAs({ code, signal }) {
  if (signal === null) return code
  process.kill(process.pid, signal)
  // Signals that do not end a Node process.
  return 128 + os.constants.signals[signal]
}

module.exports = { endAs, runScript }
