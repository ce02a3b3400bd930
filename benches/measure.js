'use strict'
// One measured process.

const { spawn } = require('node:child_process')
const { createHash } = require('node:crypto')
const path = require('node:path')

const preload = path.join(__dirname, 'usage.js')
const register = path.join(__dirname, '..', 'register.js')

/** The environment of every process: nothing of the caller's that would turn our own knobs. */
function environment(extra) {
  const env = { ...process.env }
  for (const name of Object.keys(env)) {
    if (/^(NODE_OPTIONS$|NODE_DEBUG$|WASM_)/.test(name)) delete env[name]
  }
  return { ...env, ...extra }
}

/**
 * Runs `node [flags] [--require register.js] ...args`.
 * @returns {Promise<{wall: number, cpu: number, rss: number, output: string, digest: string}>} wall
 *   and cpu in milliseconds, rss in bytes; output is what it wrote to stdout
 */
function run({ args, flags = [], ours = false, env = {} }) {
  return new Promise((resolve, reject) => {
    const argv = [...flags, '--require', preload, ...(ours ? ['--require', register] : []), ...args]
    const started = performance.now()
    const child = spawn(process.execPath, argv, { env: environment(env), stdio: ['ignore', 'pipe', 'pipe', 'pipe'] })
    let wall
    const texts = child.stdio.map((stream, fd) => {
      const chunks = []
      if (fd > 0) stream.on('data', (chunk) => chunks.push(chunk))
      return () => Buffer.concat(chunks)
    })
    child.on('error', reject)
    child.on('exit', () => (wall = performance.now() - started))
    child.on('close', (code, signal) => {
      const [, stdout, stderr, usage] = texts.map((text) => text())
      if (code !== 0) {
        const error = new Error(`${signal ?? `exit code ${code}`}: node ${argv.join(' ')}\n${stderr}`)
        error.badOption = /bad option/.test(stderr)
        reject(error)
        return
      }
      const digest = createHash('sha256').update(stdout).digest('hex')
      resolve({ wall, ...JSON.parse(usage.toString()), output: stdout.toString(), digest })
    })
  })
}

module.exports = { environment, register, run }
