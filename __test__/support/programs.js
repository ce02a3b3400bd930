'use strict'
// Programs that know nothing of this package (../children/drop-in), started in every way, and what they print.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { environment, folder } = require('./commands.js')
const { assemble } = require('../children/modules.js')

const ROOT = path.join(__dirname, '../..')
const PROGRAMS = path.join(__dirname, '../children/drop-in')
const REGISTER = path.join(ROOT, 'register.js')

/**
 * Runs a program to its end. Its last line on stdout is JSON.
 *
 * @param {string} name of the file in ../children/drop-in, or its path
 * @param {string[]} args
 * @param {{flags?: string[], env?: object, cwd?: string}} [settings] `flags` are Node's
 * @returns {Promise<{told: object, stdout: string, stderr: string}>} rejects if it failed
 */
function program(name, args, { flags = [], env = {}, cwd = ROOT } = {}) {
  const all = environment({ WASM_COMPILE_CACHE: process.env.WASM_COMPILE_CACHE, WASM_COMPILE_CACHE_FINISH: '0', ...env })
  return new Promise((resolve, reject) => {
    const argv = [...flags, path.resolve(PROGRAMS, name), ...args]
    execFile(process.execPath, argv, { env: all, cwd }, (error, stdout, stderr) => {
      if (error !== null) reject(new Error(`${name}: ${error.signal ?? error.code}\n${stdout}${stderr}`))
      else resolve({ told: JSON.parse(stdout.trimEnd().split('\n').at(-1)), stdout, stderr })
    })
  })
}

/** A file with the binary of `text`, for as long as the test runs. */
async function moduleFile(t, text) {
  const file = path.join(folder(t), 'module.wasm')
  fs.writeFileSync(file, await assemble(text))
  return file
}

module.exports = { REGISTER, ROOT, moduleFile, program }
