'use strict'
// `doctor` on the command line: what it finds wrong, and that it leaves nothing behind.

const fs = require('node:fs')
const path = require('node:path')
const { setImmediate } = require('node:timers/promises')
const test = require('ava')

const { cli, cliJson, startCli } = require('./support/cli.js')
const { entries, folder } = require('./support/commands.js')

const MODULE = path.join(__dirname, '../node_modules/@jsquash/webp/codec/dec/webp_dec.wasm')

/** A cache that holds a module. */
async function filled(t) {
  const cache = path.join(folder(t), 'cache')
  await cliJson(['warm', MODULE], { cache })
  return cache
}

test('doctor: all is well', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const { ok, checks } = await cliJson(['doctor'], { cache })
  t.true(ok)
  const detail = (name) => checks.find((check) => check.name === name).detail
  t.regex(detail('Node'), new RegExp(`^${process.versions.node}, V8`))
  t.regex(detail('engine'), /wasmer \d/)
  t.regex(detail('fallback'), /tail-call/)
  t.true(detail('directory').startsWith(`${cache}, mode 0700`))
  t.regex(detail('space'), /^0 entries, 0 bytes of .*; .* free on the disk$/)
  t.deepEqual(entries(cache), [], 'nothing stays behind')
  const { code, stdout } = await cli(['doctor'], { cache })
  t.is(code, 0)
  t.regex(stdout, /^ok +executable mappings +code that one process stored, another mapped and ran$/m)
})

test('doctor: a directory that others may write to, and a file in it', async (t) => {
  const cache = await filled(t)
  fs.chmodSync(path.join(cache, fs.readdirSync(cache)[0]), 0o777)
  const inside = await cliJson(['doctor'], { cache, code: 1 })
  t.deepEqual(
    inside.checks.filter(({ ok }) => ok === false).map(({ name }) => name),
    ['directory']
  )
  fs.chmodSync(cache, 0o777)
  const { code, stdout } = await cli(['doctor'], { cache })
  t.is(code, 1)
  t.regex(stdout, /^wrong +directory +.*others can write to .*Advice: /m)
  t.regex(stdout, /^- +executable mappings +not checked/m)
})

test('doctor: an addon that cannot be loaded, memories without guards, a cache that is off, a limit that is none', async (t) => {
  const wrong = async (env) => {
    const { checks } = await cliJson(['doctor'], { cache: folder(t), env, code: 1 })
    return checks.filter(({ ok }) => ok === false).map(({ name }) => name)
  }
  t.deepEqual(await wrong({ NODE_OPTIONS: '--disable-wasm-trap-handler' }), ['guard regions'])
  t.deepEqual(await wrong({ NODE_OPTIONS: '--no-addons' }), ['addon'])
  t.deepEqual(await wrong({ NODE_OPTIONS: '--jitless' }), ['addon'])
  t.deepEqual(await wrong({ WASM_DISABLE_COMPILE_CACHE: '1' }), ['directory'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_SIZE: 'much' }), ['environment'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_SIZE: '1M' }), ['space'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_ENTRY_SIZE: 'much' }), ['environment'])
  t.deepEqual(await wrong({ WASM_COMPILE_CACHE_MAX_ENTRY_SIZE: '1' }), ['space'])
})

test('doctor: nothing stays behind of one that is interrupted, nor of one that was killed', async (t) => {
  const cache = await filled(t)
  const own = () => fs.readdirSync(cache).filter((name) => name.includes('doctor'))
  const { child, ended } = startCli(['doctor'], { cache })
  while (own().length === 0 && child.exitCode === null) await setImmediate()
  const [left] = own()
  child.kill()
  t.like(await ended, { code: null, signal: 'SIGTERM' })
  t.deepEqual(own(), [])
  await ended

  for (const name of [left, `${left}-young`]) fs.mkdirSync(path.join(cache, name, 'below'), { recursive: true, mode: 0o700 })
  const old = new Date(Date.now() - 2 * 3600_000)
  fs.utimesSync(path.join(cache, left), old, old)
  await cliJson(['doctor'], { cache })
  t.deepEqual(own(), [`${left}-young`])
})

test('doctor: locks that cannot be had', async (t) => {
  const cache = await filled(t)
  const [lock] = fs.readdirSync(cache).filter((name) => name.endsWith('.lock'))
  fs.rmSync(path.join(cache, lock))
  fs.mkdirSync(path.join(cache, lock), { mode: 0o700 })
  const { checks } = await cliJson(['doctor'], { cache, code: 1 })
  t.deepEqual(
    checks.filter(({ ok }) => ok === false).map(({ name }) => name),
    ['locks']
  )
})

if (process.platform === 'linux') {
  test('doctor: a file system from which nothing may be executed', async (t) => {
    const disk = folder(t)
    // In a mount namespace of its own, which ends with the command, and for users who are not root with a user namespace.
    const mount = 'mount -t tmpfs -o noexec,mode=0700 none "$0" && exec "$@"'
    const under = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, disk]
    const { code, stdout, stderr } = await cli(['doctor', '--directory', path.join(disk, 'cache')], { under })
    if (stdout === '') {
      t.log(`no file system can be mounted here: ${stderr.trim()}`)
      t.regex(stderr, /^(unshare|mount): /)
      return
    }
    t.is(code, 1, stderr)
    t.regex(
      stdout,
      /^wrong +executable mappings +code that one process stored, another copied and ran: no memory is shared\. Advice: is the file system mounted noexec\?$/m
    )
    t.is(stdout.match(/^wrong/gm).length, 1)
  })
}
