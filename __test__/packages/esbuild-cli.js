'use strict'
// The command of esbuild-wasm, bundling esbuild-wasm's own lib/main.js. A round is a process, so
// LOOPS=swap asks for a command that leaves a warm cache behind: rounds until one finds its module
// in the cache, and two more.

const { spawnSync } = require('node:child_process')
const path = require('node:path')
const { run } = require('./loop.js')

const root = path.dirname(require.resolve('esbuild-wasm/package.json'))

run(async () => async () => {
  const args = ['lib/main.js', '--bundle', '--platform=node', '--sourcemap=inline', '--target=es2019']
  const child = spawnSync(process.execPath, [...process.execArgv, path.join(root, 'bin/esbuild'), ...args], {
    cwd: root,
    maxBuffer: 1 << 28,
  })
  if (child.status !== 0) throw new Error(`esbuild: ${child.status ?? child.signal}\n${child.stderr}`)
  return [child.stdout, child.stderr]
})
