'use strict'
// The recipes of docs/remote.md, as they are written there: their commands and variables, with a server and keys of ours in the
// places of theirs. What cannot be had here is what runs them: GitHub's runner, Docker's daemon, Lambda, a cluster.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const initial = require('ava')

const { keyPair } = require('./support/archives.js')
const { entries, environment, folder } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { blocksOf } = require('./support/pages.js')
const { nginx, redis } = require('./support/servers.js')

const test = linux ? initial.serial : initial.serial.skip
initial('recipes are tested where their servers can be had', (t) => {
  if (!linux) t.log(`not on ${process.platform}`)
  t.is(linux, process.platform === 'linux')
})

const ROOT = path.join(__dirname, '..')
const recipes = blocksOf('docs/remote.md').filter(({ reason }) => reason?.includes('remote-recipes'))
const recipe = (language, nth = 0) => recipes.filter((block) => block.language === language)[nth].code

/** A project as the recipes have it: the package, one that has a module, a program, keys. */
function project(t) {
  const home = folder(t)
  const modules = path.join(home, 'node_modules')
  const installed = path.join(modules, 'wasm-compile-cache')
  fs.mkdirSync(installed, { recursive: true })
  // Without the checkout's modules, which no installation has.
  fs.copyFileSync(path.join(ROOT, 'package.json'), path.join(installed, 'package.json'))
  for (const name of ['index.js', 'register.js']) {
    fs.writeFileSync(path.join(installed, name), `module.exports = require(${JSON.stringify(path.join(ROOT, name))})`)
  }
  const webp = path.dirname(require.resolve('@jsquash/webp/package.json'))
  fs.cpSync(path.join(webp, 'codec/dec'), path.join(modules, '@jsquash/webp/codec/dec'), { recursive: true })
  fs.copyFileSync(path.join(webp, 'package.json'), path.join(modules, '@jsquash/webp/package.json'))
  fs.writeFileSync(
    path.join(home, 'app.js'),
    `const bytes = require('fs').readFileSync(require.resolve('@jsquash/webp/codec/dec/webp_dec.wasm'))
     const { Module } = require('wasm-compile-cache')
     const compiled = new WebAssembly.Module(bytes)
     Promise.resolve(process.env.WAIT ? Module.optimized(compiled) : undefined)
       .then(() => process.env.WAIT && require('wasm-compile-cache').cache.flush())
       .then(() => console.log(Module.tier(compiled)))`
  )
  const { privateKey, publicKey } = keyPair(home)
  fs.renameSync(privateKey, path.join(home, 'private.pem'))
  fs.renameSync(publicKey, path.join(home, 'public.pem'))
  const text = (name) => fs.readFileSync(path.join(home, name), 'utf8')
  return { home, keys: { private: text('private.pem'), public: text('public.pem') }, cache: path.join(home, 'cache') }
}

/** A command, as a shell runs it, where npx finds this package's command line. */
async function shell(text, { home, cache }, env = {}) {
  const script = text.replaceAll('npx wasm-compile-cache', `"${process.execPath}" "${path.join(ROOT, 'dist/cli.js')}"`)
  const all = environment({
    WASM_COMPILE_CACHE_ENGINE: undefined,
    WASM_COMPILE_CACHE: cache,
    WASM_COMPILE_CACHE_FINISH: '0',
    NAPI_RS_NATIVE_LIBRARY_PATH: process.env.NAPI_RS_NATIVE_LIBRARY_PATH,
    PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
    ...env,
  })
  const child = spawn('bash', ['-ec', script], { cwd: home, env: all, stdio: ['ignore', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stdout.on('data', (data) => (stdout += data))
  child.stderr.on('data', (data) => (stderr += data))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${text}: ${code}\n${stdout}${stderr}`)
  return { stdout, stderr }
}

/** The lines of a job's steps that are commands of this package, and its program. */
const steps = (yaml) => [...yaml.matchAll(/^ +- run: (.*)$/gm)].map(([, command]) => command).filter((one) => one !== 'npm ci')

test('GitHub Actions, twice, with the folder kept', async (t) => {
  const first = project(t)
  const yaml = recipe('yaml')
  t.true(yaml.includes('path: .wasm-remote') && yaml.includes('WASM_COMPILE_CACHE_REMOTE_SIGN: ${{ secrets.'))
  const [warm, run] = steps(yaml)
  const [, level] = /^env:\n {2}WASM_COMPILE_CACHE_CPU: (.*)$/m.exec(yaml)
  const env = { WASM_COMPILE_CACHE_CPU: level }
  const sign = { ...env, WASM_COMPILE_CACHE_REMOTE_SIGN: first.keys.private }
  t.regex((await shell(warm, first, sign)).stdout, /^stored /)
  t.is((await shell(run, first, env)).stdout, 'optimized\n')
  // The next job has the folder, and no cache.
  const second = { ...first, cache: path.join(first.home, 'another') }
  t.regex((await shell(warm, second, sign)).stdout, /^received /)
  t.is((await shell(run, second, env)).stdout, 'optimized\n')
})

/** A server that has what the project's module is compiled to. */
async function filled(t, at, remote) {
  const place = { ...at, cache: folder(t) }
  await shell(`npx wasm-compile-cache warm node_modules --remote '${remote.url}' --sign private.pem`, place)
}

test('a Dockerfile', async (t) => {
  const [at, remote] = [project(t), await nginx(t)]
  await filled(t, at, remote)
  const text = recipe('dockerfile')
  const [, level] = /^ENV (\S+)$/m.exec(text)
  const env = Object.fromEntries([level.split('=')])
  const [, pull] = /^RUN (.*)$/m.exec(text)
  const [, command] = /^CMD (.*)$/m.exec(text)
  t.regex((await shell(pull.replace('https://cache.example.com/wasm', remote.url), at, env)).stdout, /^stored /)
  await remote.stop()
  const ran = await shell(JSON.parse(command).join(' '), at, env)
  t.is(ran.stdout, 'optimized\n')
})

test('AWS Lambda', async (t) => {
  const [at, remote] = [project(t), await nginx(t)]
  await filled(t, at, remote)
  const lines = recipe('ini').trim().split('\n')
  const given = Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
  t.true(given.WASM_COMPILE_CACHE.startsWith('/tmp/'))
  const env = { ...given, WASM_COMPILE_CACHE: path.join(at.home, 'tmp'), WASM_COMPILE_CACHE_REMOTE: remote.url, WAIT: '1' }
  t.is((await shell('node app.js', at, env)).stdout, 'optimized\n')
  t.is(entries(env.WASM_COMPILE_CACHE).length, 1)
  const asked = remote.asked().length
  t.is((await shell('node app.js', at, { ...env, WAIT: '' })).stdout, 'optimized\n')
  t.is(remote.asked().length, asked, 'what it was given stays')
})

test('Kubernetes with Redis', async (t) => {
  const [at, remote] = [project(t), await redis(t)]
  const yaml = recipe('yaml', 1)
  const env = {}
  for (const [, name, value] of yaml.matchAll(/\{ name: (\w+), value: '?([^'}]*?)'? \}/g)) env[name] = value
  for (const [, name, key] of yaml.matchAll(/- name: (\w+)\n.*key: (\w+)\.pem/g)) env[name] = at.keys[key]
  t.deepEqual(Object.keys(env).sort(), [
    'NODE_OPTIONS',
    'WASM_COMPILE_CACHE_ENGINE',
    'WASM_COMPILE_CACHE_REMOTE',
    'WASM_COMPILE_CACHE_REMOTE_KEYS',
    'WASM_COMPILE_CACHE_REMOTE_SIGN',
  ])
  t.is(env.WASM_COMPILE_CACHE_REMOTE, 'redis://wasm-cache:6379')
  const pod = (name) => ({
    ...env,
    ...remote.env,
    WASM_COMPILE_CACHE_REMOTE: remote.url,
    WASM_COMPILE_CACHE: path.join(at.home, name),
    WAIT: '1',
  })
  const stories = []
  for (const name of ['first', 'second']) {
    const { stdout, stderr } = await shell('node app.js', at, { ...pod(name), NODE_DEBUG: 'wasm-compile-cache' })
    t.is(stdout, 'optimized\n')
    stories.push([...stderr.matchAll(/: (remote\w+) /g)].map(([, event]) => event))
  }
  t.deepEqual(stories, [['remoteMiss', 'remoteStored'], ['remoteHit']])
})

test('a store that is read-only', async (t) => {
  const at = project(t)
  const out = folder(t)
  await shell('npx wasm-compile-cache warm node_modules', at, { WASM_COMPILE_CACHE_CPU: 'x86-64-v2' })
  const [push, run] = recipe('sh').trim().split('\n')
  const level = { out, WASM_COMPILE_CACHE_CPU: 'x86-64-v2' }
  t.regex((await shell(push, at, level)).stdout, /^sent /)
  fs.chmodSync(path.join(out, 'wasm'), 0o555)
  const user = { ...at, cache: folder(t) }
  t.is((await shell(run, user, { ...level, WAIT: '1' })).stdout, 'optimized\n')
  t.is(entries(user.cache).length, 1)
  fs.chmodSync(path.join(out, 'wasm'), 0o755)
})
