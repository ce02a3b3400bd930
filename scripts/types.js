'use strict'

// Tests index.d.ts and register.d.ts: with TypeScript's "es2022" library alone and together with "dom", as Node resolves
// modules and as bundlers do. Each folder of __test__/types is a package for tsd to run in, with its compiler options.

const { spawnSync } = require('node:child_process')
const path = require('node:path')

const ROOT = path.join(__dirname, '..')
const TSD = path.join(ROOT, 'node_modules', 'tsd', 'dist', 'cli.js')

const INDEX = '../../../index.test-d.ts'
const REGISTER = '../register/register.test-d.ts'

function tsd(directory, typings, ...files) {
  const args = [TSD, '--typings', typings, ...files.flatMap((file) => ['--files', file])]
  const { status } = spawnSync(process.execPath, args, { cwd: path.join(ROOT, directory), stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}

tsd('.', 'index.d.ts', 'index.test-d.ts')
tsd('__test__/types/bundler', '../../../index.d.ts', INDEX)
tsd('__test__/types/dom', '../../../index.d.ts', 'dom.test-d.ts', INDEX)
tsd('__test__/types/register', '../../../register.d.ts', 'register.test-d.ts')
tsd('__test__/types/register-dom', '../../../register.d.ts', 'register-dom.test-d.ts', REGISTER)
