'use strict'
// A cache that machines share: what one of them has compiled, the others map.

const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const initial = require('ava')

const { judged } = require('./support/auto.js')
const { cli } = require('./support/cli.js')
const { HOT, entries, environment, folder, litter, named, run, start, story, together, warned } = require('./support/commands.js')
const { close, job, material, objects, open, origins, reader, results, writer } = require('./support/remote.js')
const { linux, mentioning, over } = require('./support/processes.js')
const { ALL, nginx, redis, s3, sharedFolder } = require('./support/servers.js')

const test = linux ? initial.serial : initial.serial.skip
initial('remote caches are tested where their servers can be had', (t) => {
  if (!linux) t.log(`not on ${process.platform}: servers of Debian's and PyPI's`)
  t.is(linux, process.platform === 'linux')
})

let made
initial.before(async () => {
  made = await material()
})
initial.after.always(() => made?.remove())

const { exports: files } = require('../package.json')
const PACKAGE = path.join(__dirname, '..', files['.'].default)

/** What a script that has the package as `wasm` prints as JSON. */
async function script(t, text, env) {
  const file = path.join(folder(t), 'script.cjs')
  fs.writeFileSync(file, `const wasm = require(${JSON.stringify(PACKAGE)})\n;(async () => {${text}})()`)
  const { execFile } = require('node:child_process')
  return new Promise((resolve) => {
    const all = environment({ WASM_COMPILE_CACHE_FINISH: '0', ...env })
    execFile(process.execPath, [file], { env: all }, (error, stdout, stderr) => resolve({ error, stdout, stderr }))
  })
}

for (const service of ALL) {
  test(`on ${service.name}, a machine without a cache has what another one has compiled`, async (t) => {
    const remote = await service(t)
    const [one, another] = [folder(t), folder(t)]
    const cold = await run(job(made.file), { cache: one, env: writer(remote, made.keys) })
    t.deepEqual(results(cold), made.right)
    t.deepEqual(origins([cold]), ['compiler'])
    t.is(named(cold, 'remoteMiss').length, 1)
    const [stored] = named(cold, 'remoteStored')
    t.true(stored.transferBytes > 0)
    t.like(cold.counts.remote, { hits: 0, misses: 1, failures: 0, writes: 1, bytesWritten: stored.transferBytes })

    const other = await run(job(made.file), { cache: another, env: reader(remote, made.keys) })
    t.deepEqual(results(other), made.right)
    t.deepEqual(origins([other]), ['remote'])
    const [hit] = named(other, 'remoteHit')
    t.is(hit.hash, named(cold, 'cachedModule')[0].hash)
    t.like(other.counts.remote, { hits: 1, misses: 0, failures: 0, writes: 0, bytesRead: hit.transferBytes })
    t.is(entries(another).length, 1)
    const again = await run(job(made.file), { cache: another, env: reader(remote, made.keys) })
    t.deepEqual(story(again), HOT)
    t.is(again.counts.remote.hits, 0)
    t.deepEqual([...litter(one), ...litter(another)], [])
  })
}

for (const service of [sharedFolder, s3]) {
  test(`on ${service.name}, whoever refuses an object and writes replaces it`, async (t) => {
    const remote = await service(t)
    for (const file of [made.file, made.large]) {
      await run(job(file), { cache: folder(t), env: writer(remote, made.other) })
      const refusing = await run(job(file), { cache: folder(t), env: writer(remote, made.keys) })
      t.regex(named(refusing, 'remoteInvalid')[0].reason, /^signature: /)
      t.is(named(refusing, 'remoteStored').length, 1)
      t.deepEqual(origins([await run(job(file), { cache: folder(t), env: reader(remote, made.keys) })]), ['remote'])
    }
  })
}

test('an object whose code is damaged is replaced', async (t) => {
  const remote = sharedFolder(t)
  const env = writer(remote, made.keys)
  await run(job(made.file), { cache: folder(t), env })
  const [file] = objects(remote.files)
  const { manifest, payload } = open(fs.readFileSync(file))
  payload[payload.length >> 1] ^= 1
  fs.writeFileSync(file, close({ manifest, payload }, made.keys))
  const refusing = await run(job(made.file), { cache: folder(t), env })
  t.is(named(refusing, 'remoteInvalid').length, 1)
  t.is(named(refusing, 'remoteStored').length, 1)
  t.deepEqual(origins([await run(job(made.file), { cache: folder(t), env })]), ['remote'])
})

test('what goes through a remote is made for a level of processors, unless another is named', async (t) => {
  const remote = sharedFolder(t)
  const env = writer(remote, made.keys)
  const cpu = (cache) => cli(['ls', '--json'], { cache, env }).then(({ stdout }) => JSON.parse(stdout)[0].engine.cpu)
  const [level, native] = [folder(t), folder(t)]
  await run(job(made.file), { cache: level, env })
  await run(job(made.file), { cache: native, env: { ...env, WASM_COMPILE_CACHE_CPU: 'native' } })
  const [ofLevel, ofMachine] = [(await cpu(level)).split(','), (await cpu(native)).split(',')]
  t.true(ofLevel.length > 0 && ofLevel.every((feature) => ofMachine.includes(feature)))
  t.is(objects(remote.files).length, `${ofLevel}` === `${ofMachine}` ? 1 : 2)
})

test('push, pull, warm and doctor', async (t) => {
  const remote = await redis(t)
  const [one, another, third] = [folder(t), folder(t), folder(t)]
  await run(job(made.file), { cache: one, env: { WASM_COMPILE_CACHE_CPU: 'x86-64-v2' } })
  const settings = (cache) => ({ cache, env: { ...remote.env, WASM_COMPILE_CACHE_CPU: 'x86-64-v2' } })
  const named = ['--remote', remote.url, '--json']
  const signed = [...named, '--sign', made.keys.privateKey]
  const checked = [...named, '--key', made.keys.publicKey]
  const status = ({ stdout }) => JSON.parse(stdout).map((one) => one.status)

  t.deepEqual(status(await cli(['push', ...signed], settings(one))), ['sent'])
  t.deepEqual(status(await cli(['push', ...signed], settings(one))), ['present'])
  const unsigned = await cli(['push', ...checked], settings(one))
  t.is(unsigned.code, 1)
  t.is(JSON.parse(unsigned.stdout).error.code, 'ERR_WASM_REMOTE')

  t.deepEqual(status(await cli(['pull', ...checked, made.file], settings(another))), ['stored'])
  t.deepEqual(status(await cli(['pull', ...checked, made.file], settings(another))), ['present'])
  t.deepEqual(status(await cli(['pull', ...checked, made.large], settings(another))), ['absent'])
  t.deepEqual(story(await run(job(made.file), settings(another))), HOT)
  const all = await cli(['pull', ...checked], settings(another))
  t.regex(JSON.parse(all.stdout).error.message, /cannot list/)

  const warm = await cli(['warm', ...signed, '--min-size', '0', made.file, made.large], settings(third))
  t.deepEqual(status(warm), ['received', 'stored'])
  t.deepEqual(status(await cli(['pull', ...checked, made.large], settings(another))), ['stored'])
  // Programs under register know it.
  t.is(JSON.parse((await cli(['explain', made.large, '--json'], settings(another))).stdout).verdict.engine, 'ours')
  t.like(JSON.parse((await cli(['stats', '--json'], settings(third))).stdout).total.remote, { hits: 1, writes: 1 })

  const looked = async (args) => {
    const { stdout } = await cli(['doctor', '--json', ...args], settings(one))
    const { ok, detail } = JSON.parse(stdout).checks.find(({ name }) => name === 'remote')
    return [ok, detail]
  }
  const shown = remote.url
  t.deepEqual(await looked(['--remote', remote.url, '--key', made.keys.publicKey]), [true, `${shown} can be read`])
  t.deepEqual(await looked(['--remote', remote.url, '--sign', made.keys.privateKey]), [true, `${shown} can be read and written`])
  await remote.stop()
  const [ok, detail] = await looked(['--remote', remote.url, '--key', made.keys.publicKey])
  t.false(ok)
  t.true(detail.startsWith(shown))
})

test('pull without targets takes what was made for machines like this one', async (t) => {
  const remote = sharedFolder(t)
  const [one, another] = [folder(t), folder(t)]
  const env = writer(remote, made.keys)
  await run(job(made.file), { cache: one, env })
  await run(job(made.large), { cache: one, env })
  const { stdout } = await cli(['pull', '--json'], { cache: another, env: reader(remote, made.keys) })
  t.deepEqual(
    JSON.parse(stdout).map(({ status }) => status),
    ['stored', 'stored']
  )
  t.is(entries(another).length, 2)
})

test('a process that ends leaves what is not sent, and what is not compiled, to another one', async (t) => {
  const remote = await nginx(t)
  const cache = folder(t)
  const env = { ...writer(remote, made.keys), WASM_COMPILE_CACHE_FINISH: undefined }
  const ended = await run(job(made.file, { busy: true, end: 'exit', flush: false }), { cache, env })
  const pids = named(ended, 'handedOff').map(({ pid }) => pid)
  t.is(pids.length, 1)
  await over(pids)
  t.is(objects(remote.files).length, 1)
  t.is(entries(cache).length, 1)

  // Sent by the finisher, if the process has no time to.
  fs.rmSync(objects(remote.files)[0])
  const stored = folder(t)
  const text = `
    await wasm.Module.optimized(await wasm.compile(require('fs').readFileSync(${JSON.stringify(made.file)}), { minSize: 0 }))
    process.exit()`
  await script(t, text, { ...env, WASM_COMPILE_CACHE: stored })
  await over(mentioning(path.join(__dirname, '../dist/finish.js')))
  t.is(objects(remote.files).length, 1)
})

for (const server of [sharedFolder, nginx]) {
  test(`on ${server.name}, a program without an event loop has it, without a thread of Node, and leaves it to the next`, async (t) => {
    const remote = await server(t)
    await run(job(made.file), { cache: folder(t), env: writer(remote, made.keys) })
    const { privateKey } = made.keys
    // What a machine signs it may read.
    for (const keys of [
      reader(remote, made.keys),
      { ...reader(remote, { publicKey: '' }), WASM_COMPILE_CACHE_REMOTE_SIGN: privateKey },
    ]) {
      const cache = folder(t)
      const text = `
        require('worker_threads').Worker = class { constructor() { require('fs').writeSync(2, 'a thread of Node') } }
        const module = new wasm.Module(require('fs').readFileSync(${JSON.stringify(made.file)}), { minSize: 0 })
        const end = Date.now() + 60_000
        while (wasm.Module.tier(module) !== 'optimized' && Date.now() < end) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
        require('fs').writeSync(1, wasm.Module.tier(module))
        process.exit()`
      const { stdout, stderr } = await script(t, text, { ...keys, WASM_COMPILE_CACHE: cache })
      t.deepEqual({ stdout, stderr }, { stdout: 'optimized', stderr: '' })
      t.is(entries(cache).length, 1)
    }
  })
}

test('of the processes of a machine, one asks', async (t) => {
  const remote = await nginx(t)
  await run(job(made.large), { cache: folder(t), env: writer(remote, made.keys) })
  const before = remote.asked().length
  const cache = folder(t)
  const commands = Array.from({ length: 6 }, () =>
    start(job(made.large, { ready: true }), { cache, env: reader(remote, made.keys) })
  )
  const all = await together(commands)
  for (const ended of all) t.deepEqual(results(ended), made.rightOfLarge)
  // One question, one artifact.
  const asked = remote.asked().slice(before)
  t.true(asked.length <= 2, asked.join('\n'))
  t.true(all.flatMap((ended) => named(ended, 'remoteHit')).length <= 1)
})

test('the judge takes what is there, so that the second run of a program is hot', async (t) => {
  const remote = sharedFolder(t)
  const env = writer(remote, made.keys)
  await run(job(made.large), { cache: folder(t), env })
  const cache = folder(t)
  const program = path.join(folder(t), 'program.cjs')
  fs.writeFileSync(
    program,
    `const bytes = require('fs').readFileSync(${JSON.stringify(made.large)})
     const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { tick: (x) => x + 1 } })
     console.log(instance.exports.run(20))`
  )
  const under = { ...reader(remote, made.keys), WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_ENGINE: 'auto' }
  const { execFileSync } = require('node:child_process')
  const register = path.join(__dirname, '../register.js')
  const runs = () =>
    execFileSync(process.execPath, ['--require', register, program], {
      env: environment({ ...under, WASM_COMPILE_CACHE_FINISH: 'now' }),
    })
  t.is(Number(runs()), made.rightOfLarge[0])
  await judged(cache)
  t.is(entries(cache).length, 1)
  const { stdout } = await cli(['stats', '--json'], { cache })
  t.like(JSON.parse(stdout).total, { writes: 1, remote: { hits: 1, writes: 0 } })
  t.is(Number(runs()), made.rightOfLarge[0])
  t.is(JSON.parse((await cli(['stats', '--json'], { cache })).stdout).total.hits, 1)
})

test('after three failures in a row it is left alone by all processes, which is said once', async (t) => {
  const dead = { url: 'http://127.0.0.1:1/' }
  const cache = folder(t)
  const reasons = []
  for (let round = 0; round < 5; round++) {
    const ended = await run(job(made.file, { modules: [{ file: made.file, options: { minSize: 0, partition: `${round}` } }] }), {
      cache,
      env: reader(dead, made.keys),
    })
    reasons.push(...named(ended, 'remoteFailed').map(({ reason }) => reason))
  }
  t.is(reasons.length, 3)
  t.deepEqual(
    reasons.map((reason) => /left alone/.test(reason)),
    [false, false, true]
  )
})

test('what is left alone is asked again after a minute, and after a clock that was set back', async (t) => {
  const dead = { url: 'http://127.0.0.1:1/' }
  for (const [age, isAsked] of [
    [1000, false],
    [61_000, true],
    [-3_600_000, true],
  ]) {
    const cache = folder(t)
    fs.writeFileSync(path.join(cache, 'remote.json'), JSON.stringify({ failures: 3, at: Date.now() - age }))
    const ended = await run(job(made.file), { cache, env: reader(dead, made.keys) })
    t.deepEqual([results(ended), named(ended, 'remoteFailed').length], [made.right, isAsked ? 1 : 0], `${age} ms`)
  }
})

test('what is wrong with the settings is said', async (t) => {
  const { publicKey, privateKey } = made.keys
  const cases = [
    [5, 'must be an address or an object'],
    [{ url: 'ftp://host/' }, 'there is no service for ftp:'],
    [{ url: 's3://bucket/secret', keys: publicKey }, 'npm install opendal'],
    [{ url: 'file:///tmp/shared' }, 'name the public keys'],
    [{ url: 'file:///tmp/shared', keys: privateKey }, 'is a private key'],
    [{ url: 'file:///tmp/shared', keys: publicKey, sign: publicKey }, 'is a public key'],
    [{ url: 'file:///tmp/shared', keys: publicKey, trust: true }, 'not both'],
    [{ url: 'file:///tmp/shared', keys: publicKey, colour: 1 }, 'there is no option "colour"'],
    [{ url: 'file:///tmp/shared', keys: publicKey, mode: 'w' }, '"mode" must be'],
  ]
  for (const [remote, message] of cases) {
    const text = `console.log(JSON.stringify(wasm.cache.enable({ remote: ${JSON.stringify(remote)} })))`
    const { stdout, stderr } = await script(t, text, { WASM_COMPILE_CACHE: folder(t) })
    const { status, message: said } = JSON.parse(stdout || `{"message":${JSON.stringify(stderr)}}`)
    t.is(status, 'failed', message)
    t.true(said.includes(message), said)
  }
  // The environment's is a warning, and the program goes on.
  const wrong = { WASM_COMPILE_CACHE_REMOTE: 'ftp://user:secret@host/', WASM_COMPILE_CACHE_REMOTE_TRUST: '1' }
  const ended = await run(job(made.file), { cache: folder(t), env: wrong })
  t.deepEqual(results(ended), made.right)
  const { warnings } = warned(ended)
  t.is(warnings.length, 1)
  t.regex(warnings[0].message, /there is no service for ftp:/)
  t.false(warnings[0].message.includes('secret'))
  // What shows only when it is to be reached, too.
  for (const url of ['file://elsewhere/shared', 'file:///tmp/a%2Fb', 'http://us%er:secret@127.0.0.1:1/']) {
    const env = { WASM_COMPILE_CACHE_REMOTE: url, WASM_COMPILE_CACHE_REMOTE_TRUST: '1' }
    const one = await run(job(made.file), { cache: folder(t), env })
    t.deepEqual(results(one), made.right, url)
    t.true(named(one, 'remoteFailed').length > 0, url)
  }
})

test('a program names it, with the texts of keys', async (t) => {
  const remote = sharedFolder(t)
  const text = (key) => JSON.stringify(fs.readFileSync(key, 'utf8'))
  const program = (settings) => `
    const { status } = wasm.cache.enable({ remote: { url: ${JSON.stringify(remote.url)}, ${settings} } })
    const module = await wasm.compile(require('fs').readFileSync(${JSON.stringify(made.file)}), { minSize: 0 })
    await wasm.Module.optimized(module)
    await wasm.cache.flush()
    console.log(JSON.stringify([status, wasm.cache.stats().process.remote]))`
  const of = async (settings) => {
    const { stdout, stderr } = await script(t, program(settings), { WASM_COMPILE_CACHE: folder(t) })
    t.is(stderr, '')
    return JSON.parse(stdout)
  }
  t.like(await of(`sign: ${text(made.keys.privateKey)}`), { 0: 'enabled', 1: { misses: 1, writes: 1 } })
  t.like(await of(`keys: [${text(made.other.publicKey)}, ${text(made.keys.publicKey)}]`), { 1: { hits: 1, writes: 0 } })
  t.like(await of(`keys: ${text(made.other.publicKey)}`), { 1: { hits: 0, failures: 1 } })
  // Whoever trusts everybody takes what is not signed, too, and what is.
  t.like(await of('trust: true, mode: "read-only"'), { 1: { hits: 1, writes: 0 } })
  const [object] = objects(remote.files)
  fs.writeFileSync(object, close(open(fs.readFileSync(object))))
  t.like(await of('trust: true, mode: "read-only"'), { 1: { hits: 1, writes: 0 } })
  t.like(await of(`keys: ${text(made.keys.publicKey)}`), { 1: { hits: 0, failures: 1 } })
})

test('what is sent names no query and no password of an address', async (t) => {
  const remote = sharedFolder(t)
  const server = http.createServer((request, reply) => {
    reply.writeHead(200, { 'content-type': 'application/wasm' }).end(fs.readFileSync(made.file))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const address = `http://127.0.0.1:${server.address().port}/module.wasm`
  const text = `
    const module = await wasm.compileStreaming(fetch(${JSON.stringify(`${address}?token=secret`)}), { minSize: 0 })
    await wasm.Module.optimized(module)
    await wasm.cache.flush()`
  const { stderr } = await script(t, text, { ...writer(remote, made.keys), WASM_COMPILE_CACHE: folder(t) })
  t.is(stderr, '')
  const [object] = objects(remote.files)
  t.is(open(fs.readFileSync(object)).manifest.source, address)
  t.false(fs.readFileSync(object).includes('secret'))
})

test('a redirect takes no credentials to another server, and leads to no file', async (t) => {
  const seen = []
  const listen = async (respond) => {
    const server = http.createServer((request, reply) => {
      seen.push([server.address().port, request.headers.authorization])
      respond(request, reply)
    })
    await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
    t.teardown(() => {
      server.close()
      server.closeAllConnections()
    })
    return server.address().port
  }
  const second = await listen((request, reply) => reply.writeHead(404).end())
  const first = await listen((request, reply) => {
    reply.writeHead(302, { location: `http://127.0.0.1:${second}${request.url}` }).end()
  })
  const ended = await run(job(made.file), {
    cache: folder(t),
    env: reader({ url: `http://127.0.0.1:${first}/x` }, made.keys, {}),
  })
  t.is(named(ended, 'remoteMiss').length, 1)
  seen.length = 0
  const env = { ...reader({ url: `http://user:pass@127.0.0.1:${first}/x` }, made.keys) }
  await run(job(made.file), { cache: folder(t), env })
  // Whoever meets a redirect leaves it to the thread that follows it.
  const [last, ...before] = seen.toReversed()
  t.deepEqual(last, [second, undefined])
  const basic = `Basic ${Buffer.from('user:pass').toString('base64')}`
  t.deepEqual(before, [
    [first, basic],
    [first, basic],
  ])
  const file = await listen((request, reply) => reply.writeHead(302, { location: pathToFileURL(made.file).href }).end())
  const refused = await run(job(made.file), { cache: folder(t), env: reader({ url: `http://127.0.0.1:${file}/` }, made.keys) })
  t.regex(named(refused, 'remoteFailed')[0].reason, /redirects to file:/)
})

test('worker threads, and a program that compiles in one alone, have it', async (t) => {
  const remote = sharedFolder(t)
  await run(job(made.file), { cache: folder(t), env: writer(remote, made.keys) })
  const text = `
    const { Worker } = require('worker_threads')
    const code = \`const wasm = require(${JSON.stringify(PACKAGE)});(async () => {
      const module = new wasm.Module(require('fs').readFileSync(${JSON.stringify(made.file)}), { minSize: 0 })
      await wasm.Module.optimized(module)
      await wasm.cache.flush()
      require('worker_threads').parentPort.postMessage(wasm.cache.stats().process.remote.hits)
    })()\`
    new Worker(code, { eval: true }).on('message', (hits) => console.log(hits))`
  const { stdout, stderr } = await script(t, text, { ...reader(remote, made.keys), WASM_COMPILE_CACHE: folder(t) })
  t.is(stderr, '')
  t.is(stdout, '1\n')
})
