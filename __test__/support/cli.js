'use strict'
// The command line, started as npx would.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { environment, litter } = require('./commands.js')

const MAIN = path.join(__dirname, '../..', require('../../package.json').bin['wasm-compile-cache'])

/**
 * Starts a program.
 *
 * @param {string[]} argv
 * @param {{cache?: string, env?: object, cwd?: string, detached?: boolean}} [settings] `detached`: without our terminal
 * @returns {{child: object, ended: Promise<{code: number | null, signal: string | null, stdout: string, stderr: string}>}}
 */
function startProgram([program, ...argv], { cache, env = {}, cwd, detached } = {}) {
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env })
  const child = spawn(program, argv, { env: all, cwd, detached, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (text) => (stdout += text))
  child.stderr.on('data', (text) => (stderr += text))
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal, stdout, stderr }))
  return { child, ended }
}

/** The same of a command of the shell's on a terminal, which `script` of util-linux makes. `stdout`: all it showed. */
const startOnTerminal = (command, { env, ...settings } = {}) =>
  startProgram(['script', '--quiet', '--return', '--command', command, '/dev/null'], {
    ...settings,
    env: { ...env, SHELL: '/bin/sh' },
  })

/** The same of the command line; `under`: a program that starts it. */
const startCli = (args, { under = [], ...settings } = {}) => startProgram([...under, process.execPath, MAIN, ...args], settings)

const cli = (args, settings) => startCli(args, settings).ended

/** The same with --json, parsed; an exit code other than `code` is an error. */
async function cliJson([name, ...args], { code = 0, ...settings } = {}) {
  const ended = await cli([name, '--json', ...args], settings)
  if (ended.code !== code) throw new Error(`${name} ended with ${ended.signal ?? ended.code}\n${ended.stdout}${ended.stderr}`)
  return JSON.parse(ended.stdout)
}

/** What is left in the cache directory that should not be, once what ended processes left is old enough and was swept. */
async function leftOver(cache) {
  const hoursAgo = new Date(Date.now() - 2 * 3600_000)
  for (const name of litter(cache)) fs.utimesSync(path.join(cache, name), hoursAgo, hoursAgo)
  // As after a sweep: prune, which sweeps whenever it is asked to, is not to begin another one that its end interrupts.
  for (const version of fs.readdirSync(cache).filter((name) => name.startsWith('v'))) {
    fs.writeFileSync(path.join(cache, version, 'swept'), '', { mode: 0o600 })
  }
  await cliJson(['prune'], { cache })
  return litter(cache)
}

module.exports = { MAIN, cli, cliJson, leftOver, startCli, startOnTerminal, startProgram }
