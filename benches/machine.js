'use strict'

const { execFileSync } = require('node:child_process')
const os = require('node:os')

function commit() {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: __dirname, encoding: 'utf8', stdio: 'pipe' }).trim()
  } catch {
    return undefined
  }
}

/** What the figures were taken on. */
function machine() {
  const cpus = os.cpus()
  return {
    cpu: cpus[0]?.model.trim(),
    cores: os.availableParallelism(),
    memory: os.totalmem(),
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
    v8: process.versions.v8,
    commit: commit(),
    date: new Date().toISOString(),
    command: ['node', ...process.argv.slice(1).map((arg) => arg.replace(process.cwd() + '/', ''))].join(' '),
    environment: Object.fromEntries(Object.entries(process.env).filter(([name]) => name.startsWith('BENCH_'))),
  }
}

module.exports = { machine }
