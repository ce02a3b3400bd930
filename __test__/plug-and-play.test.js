'use strict'
// yarn's Plug'n'Play, as examples/pnp has it: there is no node_modules, packages are archives that `node:fs` looks into, and each
// process has to be told.

const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const initial = require('ava')

const { keyPair } = require('./support/archives.js')
const { entries, environment, folder } = require('./support/commands.js')
const { PLATFORM, release, succeed } = require('./support/installation.js')
const { linux, mentioning, over, until } = require('./support/processes.js')

const test = initial.serial
const YARN = ['npx', '--yes', '@yarnpkg/cli-dist@4.18.1']
const EXAMPLE = path.join(__dirname, '../examples/pnp')
const RIGHT = 'SQLite out of an archive\n'

/** @returns {Promise<{home: string, yarn: (args: string[], env?: object) => Promise<string>}>} a project that is installed, and yarn in it */
async function project(t) {
  const home = folder(t)
  fs.cpSync(EXAMPLE, home, { recursive: true, filter: (file) => !file.endsWith('node_modules') })
  const { main, platform } = await release(folder(t))
  const file = path.join(home, 'package.json')
  const manifest = JSON.parse(fs.readFileSync(file))
  manifest.dependencies['wasm-compile-cache'] = `file:${main}`
  manifest.resolutions = { [PLATFORM]: `file:${platform}` }
  fs.writeFileSync(file, JSON.stringify(manifest))
  // It makes this folder a project of its own.
  fs.writeFileSync(path.join(home, 'yarn.lock'), '')
  const settings = {
    YARN_ENABLE_TELEMETRY: '0',
    YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
    PATH: `${path.dirname(process.execPath)}${path.delimiter}${process.env.PATH}`,
    NAPI_RS_NATIVE_LIBRARY_PATH: '',
    WASM_COMPILE_CACHE_ENGINE: undefined,
  }
  const yarn = (args, env) =>
    succeed(`yarn ${args}`, [YARN[0], [...YARN.slice(1), ...args]], { cwd: home, env: environment({ ...settings, ...env }) })
  await yarn(['install'])
  t.false(fs.existsSync(path.join(home, 'node_modules')))
  return { home, yarn }
}

test('a program, the command line, and the processes that are left behind', async (t) => {
  t.timeout(10 * 60 * 1000)
  const { home, yarn } = await project(t)
  const [warmed, judge, finished] = [folder(t), folder(t), folder(t)]
  t.regex(await yarn(['run', 'warm'], { WASM_COMPILE_CACHE: warmed }), /^stored .*\.zip\/node_modules\/sql\.js/m)
  t.is(
    await yarn(['run', 'start'], { WASM_COMPILE_CACHE: warmed, WASM_COMPILE_CACHE_ONLY: '1', WASM_COMPILE_CACHE_ENGINE: 'ours' }),
    RIGHT
  )
  t.regex(await yarn(['run', 'wasm-compile-cache', 'doctor'], { WASM_COMPILE_CACHE: warmed }), /^ok +executable mappings/m)

  t.is(await yarn(['run', 'start'], { WASM_COMPILE_CACHE: judge, WASM_COMPILE_CACHE_FINISH: 'now' }), RIGHT)
  await until(() => entries(judge).length === 1, 'the artifact that the judge makes')
  const left = { WASM_COMPILE_CACHE: finished, WASM_COMPILE_CACHE_ENGINE: 'ours', WASM_COMPILE_CACHE_FINISH: '1' }
  t.is(await yarn(['run', 'start'], left), RIGHT)
  await until(() => entries(finished).length === 1, 'the artifact that the finisher makes')

  // The thread that reaches a remote has to find the addon, too.
  const { privateKey, publicKey } = keyPair(folder(t))
  const remote = { WASM_COMPILE_CACHE_REMOTE: pathToFileURL(folder(t)).href, WASM_COMPILE_CACHE_CPU: 'x86-64-v2' }
  await yarn(['run', 'warm'], { ...remote, WASM_COMPILE_CACHE: folder(t), WASM_COMPILE_CACHE_REMOTE_SIGN: privateKey })
  // A program that ends before the remote has answered leaves its module to a process that compiles it, and one that ends while
  // the answer is stored has counted before: neither is what is asked.
  let hits = 0
  for (let rounds = 10; hits === 0 && rounds > 0; rounds--) {
    const other = { ...remote, WASM_COMPILE_CACHE: folder(t), WASM_COMPILE_CACHE_REMOTE_KEYS: publicKey }
    t.is(await yarn(['run', 'start'], { ...left, ...other }), RIGHT)
    await until(() => entries(other.WASM_COMPILE_CACHE).length === 1, 'the artifact of the remote')
    if (!linux) return
    // What it counts is written when it ends.
    await over(mentioning(home))
    ;({ hits } = JSON.parse(await yarn(['run', 'wasm-compile-cache', 'stats', '--json'], other)).total.remote)
  }
  t.is(hits, 1)
})
