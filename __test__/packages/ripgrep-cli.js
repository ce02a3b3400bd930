'use strict'
// The command of ripgrep, whose WebAssembly node:wasi runs on the process's own descriptors. A round is a
// process, as in esbuild-cli.js; it finds something, complains about something, and exits with 2.

const { spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { run } = require('./loop.js')

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ripgrep-cli-'))

run(
  async () => {
    const { rgPath } = await import('ripgrep')
    const source = path.join(folder, 'source')
    fs.cpSync(path.join(path.dirname(require.resolve('hash-wasm/package.json')), 'lib'), source, { recursive: true })
    fs.symlinkSync('nowhere', path.join(source, 'broken'))
    const env = { ...process.env, TMPDIR: folder } // it unpacks its module there
    return async () => {
      const child = spawnSync(
        process.execPath,
        [...process.execArgv, rgPath, '--regexp=hash\\w+', '--sort=path', '--follow', '--line-number'],
        { cwd: source, env }
      )
      return [child.stdout, child.stderr, `${child.status} ${child.signal}`]
    }
  },
  () => fs.rmSync(folder, { recursive: true, force: true })
)
