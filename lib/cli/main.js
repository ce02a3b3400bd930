#!/usr/bin/env node
'use strict'

// The command line, `npx wasm-compile-cache`. A command is a file beside this one, which exports
//
//   usage     its name and arguments, as commander writes them
//   summary   one line for the list of commands
//   help      what else its own help says
//   options   (command) => void: adds its options
//   passes    true: what follows the first argument belongs to that
//   run       (args, options, screen) => {code, json, text, signal}, or its promise: `json` is printed with --json, `text`
//             without; `signal` ends the command then. Each may be missing

const { Command, CommanderError } = require('commander')

const { version } = require('../../package.json')
const { Failure } = require('./failure.js')
const { screenFor } = require('./screen.js')
const { endAs } = require('./script.js')

const COMMANDS = [
  require('./run.js'),
  require('./warm.js'),
  require('./ls.js'),
  require('./stats.js'),
  require('./verify.js'),
  require('./prune.js'),
  require('./clear.js'),
  require('./dir.js'),
  require('./explain.js'),
  require('./export.js'),
  require('./import.js'),
  require('./push.js'),
  require('./pull.js'),
  require('./trace.js'),
  require('./doctor.js'),
]

const OK = 0
const FAILED = 1
const USAGE = 2

const EXIT_CODES = `
Exit codes:
  0  done, and all is well
  1  something failed, or is wrong
  2  the command line was not understood
run and trace end as the script does.`

const print = (value) => process.stdout.write(value === '' ? '' : `${value}\n`)

const asJson = (value) => JSON.stringify(value, null, 2)

function report({ code = OK, json, text = '', signal = null }, options) {
  if (!options.json) print(text)
  else if (json !== undefined) print(asJson(json))
  process.exitCode = signal === null ? code : endAs({ signal })
}

const printFailure = ({ code, message }) => print(asJson({ error: { code, message } }))

function fail(error, options, screen) {
  // A mistake of ours is not the user's: with its stack.
  const message = error instanceof Failure || error.code !== undefined ? error.message : error.stack
  if (options.json) printFailure(error)
  else process.stderr.write(`${screen.error.red('error:')} ${message}\n`)
  process.exitCode = FAILED
}

function add(program, { usage, summary, help, options: addOptions, passes = false, run }) {
  const command = program.command(usage).summary(summary).description(summary).passThroughOptions(passes)
  addOptions?.(command)
  command
    .option('--directory <path>', "the cache's directory (default: WASM_COMPILE_CACHE, else the user's)")
    .option('--json', 'print JSON; a failure is {"error": {"code", "message"}}')
  if (help !== undefined) command.addHelpText('after', `\n${help.trim()}`)
  command.action(async (...received) => {
    const [options] = received.splice(-2)
    const screen = screenFor(options)
    try {
      report(await run(received, options, screen), options)
    } catch (error) {
      fail(error, options, screen)
    }
  })
}

/** `json`: what is wrong with the command line is for the caller to print. */
function makeProgram(json) {
  const program = new Command('wasm-compile-cache')
    .description('Shows, fills and tidies the cache of compiled WebAssembly.')
    .version(version)
    .enablePositionalOptions()
    .showHelpAfterError(json ? false : '(see --help)')
    .configureOutput(json ? { outputError() {} } : {})
    .exitOverride()
    .addHelpText('after', EXIT_CODES)
  for (const command of COMMANDS) add(program, command)
  return program
}

/** A reader that closes the pipe (`ls | head`) has enough; any other failure to write is one line. */
function watchOutput() {
  process.stdout.on('error', (error) => {
    if (error.code === 'EPIPE') return
    process.stderr.write(`error: ${error.message}\n`)
    process.exitCode = FAILED
  })
  // Nobody is left to read it.
  process.stderr.on('error', () => {})
}

async function main() {
  watchOutput()
  const json = process.argv.includes('--json')
  try {
    await makeProgram(json).parseAsync()
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    process.exitCode = error.exitCode === 0 ? OK : USAGE
    // Not of the help, which is an error to commander.
    const [, message] = /^error: ([^]*)$/.exec(error.message) ?? []
    if (json && message !== undefined) printFailure({ code: 'ERR_WASM_USAGE', message })
  }
}

main()
