'use strict'

// What would be published, and what npm's install script does with it.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { folder } = require('./support/commands.js')
const { isStress } = require('./support/stress.js')

const ROOT = path.join(__dirname, '..')

const node = (args, env) =>
  new Promise((resolve) => {
    execFile(process.execPath, args, { cwd: ROOT, env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, stdout, stderr })
    )
  })

test('the tarballs hold what they should, and the platform packages say where they fit', async (t) => {
  const { code, stderr } = await node(['scripts/check-package.js'])
  t.is(code, 0, stderr)
})

/**
 * Addons of all platforms, by their names alone: those of other platforms cannot be built here.
 *
 * @returns {string} a folder
 */
function addons(t, { abis = [] } = {}) {
  const made = folder(t)
  const name = (platform, shim = '') => path.join(made, `wasm-compile-cache.${shim}${platform}.node`)
  for (const platform of fs.readdirSync(path.join(ROOT, 'npm'))) fs.writeFileSync(name(platform), platform)
  for (const abi of abis) fs.writeFileSync(name('linux-x64-gnu', `v8-${abi}.`), `${abi}`)
  return made
}

// Half a minute of npm's.
if (isStress) {
  test('a release, rehearsed: both flavours, each package with all that it needs, and nothing is published otherwise', async (t) => {
    t.timeout(5 * 60 * 1000)
    const abis = [115, 127, 137, 147]
    const [whole, permissive] = [addons(t, { abis }), addons(t, { abis })]
    const release = () =>
      node(['scripts/release.js', whole, permissive, 'https://github.com/example/wasm-compile-cache', '--dry-run'])
    const { code, stdout, stderr } = await release()
    t.is(code, 0, stdout + stderr)
    const published = [...stdout.matchAll(/^(\S+)@.* would be published$/gm)].map(([, name]) => name)
    t.is(published.length, 14)
    for (const flavour of ['wasm-compile-cache', 'wasm-compile-cache-permissive']) {
      const own = published.filter((name) => name.replace(/-(?:linux|darwin)-.*$/, '') === flavour)
      t.is(own.length, 7)
      t.is(own.at(-1), flavour, 'after those that it names')
    }
    fs.rmSync(path.join(permissive, 'wasm-compile-cache.darwin-arm64.node'))
    fs.rmSync(path.join(whole, 'wasm-compile-cache.v8-137.linux-x64-gnu.node'))
    const refused = await release()
    t.is(refused.code, 1)
    t.is(refused.stdout, '')
    t.deepEqual(refused.stderr.trimEnd().split('\n'), [
      'wasm-compile-cache-linux-x64-gnu: wasm-compile-cache.v8-137.linux-x64-gnu.node is missing',
      'wasm-compile-cache-permissive-darwin-arm64: wasm-compile-cache.darwin-arm64.node is missing',
    ])
  })
}

test('SECURITY.md names tests that there are', (t) => {
  const text = fs.readFileSync(path.join(ROOT, 'SECURITY.md'), 'utf8')
  const named = [...text.matchAll(/`((?:src|crates|__test__)\/[^`]+)`/g)].map(([, name]) => name)
  t.true(named.length > 20)
  for (const name of named) {
    const source = fs.existsSync(path.join(ROOT, name)) ? fs.readFileSync(path.join(ROOT, name), 'utf8') : ''
    t.regex(source, /^\s*#\[test\]|^test(\.serial)?\(/m, name)
  }
})

test('the install script does nothing, and says nothing, where an addon can be loaded', async (t) => {
  t.deepEqual(await node(['scripts/install.js']), { code: 0, stdout: '', stderr: '' })
})

test('without cargo, a build from source says what to install', async (t) => {
  const env = { PATH: path.dirname(process.execPath), WASM_COMPILE_CACHE_BUILD_FLAGS: '--no-default-features' }
  // A machine where cargo lies beside node has nothing to test here.
  const { code, stdout, stderr } = await node(
    [
      '-e',
      `
    process.env.PATH = ''
    process.argv[1] = 'scripts/install.js'
    require('./scripts/install.js')
  `,
    ],
    env
  )
  t.is(code, 1)
  t.regex(stdout, /compiling it from source/)
  t.regex(stderr, /Rust \(cargo\), which was not found/)
  t.regex(stderr, /rustup\.rs/)
})

test('register installs, and the package can be required by name and by import', async (t) => {
  const { code, stdout, stderr } = await node([
    '--require',
    'wasm-compile-cache/register',
    '--input-type=module',
    '-e',
    `
    import wasm, { compileStreaming, Module } from 'wasm-compile-cache'
    console.log(Module === WebAssembly.Module, wasm.compileStreaming === compileStreaming)
  `,
  ])
  t.is(code, 0, stderr)
  t.is(stdout, 'true true\n')
})
