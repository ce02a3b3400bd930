'use strict'

// Processes that outlive this one, and do its work at the lowest priority: ./finish.js and ./judge.js.

const path = require('node:path')

const { environment } = require('./started.js')

// What would load this package into it a second time, make it write files of its own, or overwrite its parent's.
const NOT_INHERITED = ['NODE_OPTIONS', 'NODE_V8_COVERAGE', 'NODE_DEBUG', 'NODE_CHANNEL_FD', 'WASM_COMPILE_CACHE_TRACE']

/** What such a process gets. */
function detachedEnvironment() {
  const env = { ...environment, WASM_COMPILE_CACHE_FINISH: '0' }
  // Not deleted: where the name is missing, Node adds its own NODE_V8_COVERAGE.
  for (const name of NOT_INHERITED) env[name] = undefined
  if (process.versions.electron) env.ELECTRON_RUN_AS_NODE = '1'
  return env
}

/**
 * Starts one.
 *
 * @param {string} file
 * @param {string[]} list its arguments
 * @param {object} env what it gets beside {@link detachedEnvironment}
 * @returns {number | undefined} its id
 */
function startDetached(file, list, env) {
  const { spawn } = require('node:child_process')
  const child = spawn(process.execPath, [file, ...list], {
    // Not the caller's folder: it may be about to be removed.
    cwd: path.parse(process.execPath).root,
    detached: true,
    env: { ...detachedEnvironment(), ...env },
    stdio: 'ignore',
    windowsHide: true,
  })
  child.on('error', () => {})
  child.unref()
  return child.pid
}

module.exports = { detachedEnvironment, startDetached }
