'use strict'

// Processes that outlive this one, and do its work at the lowest priority: ./finish.js and ./judge.js.

const fs = require('node:fs')
const path = require('node:path')

const { environment } = require('./started.js')

// What would load this package into it a second time, make it write files of its own, or overwrite its parent's.
const NOT_INHERITED = ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'NODE_DEBUG', 'NODE_CHANNEL_FD', 'WASM_COMPILE_CACHE_TRACE']

/** The option of Node with which a process finds packages under yarn's Plug'n'Play, that of the addon among them. */
function plugAndPlay() {
  return process.versions.pnp ? `--require ${JSON.stringify(require.resolve('pnpapi'))}` : undefined
}

/** What such a process gets. */
function detachedEnvironment() {
  const env = { ...environment, WASM_COMPILE_CACHE_FINISH: '0' }
  // Not deleted: where the name is missing, Node adds its own NODE_V8_COVERAGE.
  for (const name of NOT_INHERITED) env[name] = undefined
  env.NODE_OPTIONS = plugAndPlay()
  if (process.versions.electron) env.ELECTRON_RUN_AS_NODE = '1'
  return env
}

/**
 * Waits, and becomes what it is given, out of the way of everything from its start on: out of memory, the system ends it first.
 * What a program is followed by at once must not meet the start of this.
 */
const LATER =
  'echo 1000 2>/dev/null >/proc/self/oom_score_adj; sleep 2; command -v chrt >/dev/null && exec chrt -i 0 "$0" "$@"; exec nice -n 19 "$0" "$@"'
const SHELL = '/bin/sh'

/**
 * @param {string} file
 * @param {string[]} list its arguments
 * @param {boolean} isLater not at once, where there is a shell
 * @returns {string[]} a program, and its arguments
 */
function detachedCommand(file, list, isLater) {
  const command = [process.execPath, file, ...list]
  return isLater && fs.existsSync(SHELL) ? [SHELL, '-c', LATER, ...command] : command
}

/**
 * Starts one.
 *
 * @param {string} file
 * @param {string[]} list its arguments
 * @param {object} env what it gets beside {@link detachedEnvironment}
 * @param {boolean} [isLater] as {@link detachedCommand} has it
 * @returns {number | undefined} its id
 */
function startDetached(file, list, env, isLater = false) {
  const { spawn } = require('node:child_process')
  const [program, ...rest] = detachedCommand(file, list, isLater)
  const child = spawn(program, rest, {
    // Not the caller's folder: it may be about to be removed.
    cwd: path.parse(process.execPath).root,
    detached: true,
    env: { ...detachedEnvironment(), ...env },
    stdio: 'ignore',
  })
  child.on('error', () => {})
  child.unref()
  return child.pid
}

module.exports = { detachedCommand, detachedEnvironment, plugAndPlay, startDetached }
