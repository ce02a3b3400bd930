'use strict'

// Tests index.d.ts twice: with TypeScript's "es2022" library alone, and together with "dom".

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const ROOT = path.join(__dirname, '..')
const TSD = path.join(ROOT, 'node_modules', 'tsd', 'dist', 'cli.js')

const tsd = (directory, ...args) => {
  const { status } = spawnSync(process.execPath, [TSD, ...args], { cwd: path.join(ROOT, directory), stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}

tsd('.')
tsd('__test__/types/dom', '--typings', '../../../index.d.ts', '--files', 'dom.test-d.ts', '--files', '../../../index.test-d.ts')
