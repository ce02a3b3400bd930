'use strict'
// The judge under `engine: 'auto'`, and what is left for it: modules that V8 compiled become known, however the program ends that
// had them, which neither waits nor has anything open for it.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { JUDGED, LATER, SIZE, auto, judged, read, seen, shimFile, subject, verdicts, withoutShim } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { REGISTER } = require('./support/programs.js')
const { padded } = require('./support/wat.js')
const { assemble } = require('./children/modules.js')

const { file, plain, root, run } = subject(test)
const refused = path.join(root, 'refused.wasm')
test.before(() => {
  // (module (func return_call 0))
  const functions = [0, 97, 115, 109, 1, 0, 0, 0, 1, 4, 1, 96, 0, 0, 3, 2, 1, 0, 10, 6, 1, 4, 0, 0x12, 0, 11]
  fs.writeFileSync(refused, padded(Buffer.from(functions), SIZE))
})

if (linux) {
  test('what V8 compiles little of stays there; what it compiles more of is judged by another process, and known to the next one', async (t) => {
    const cache = folder(t)
    const artifacts = () => fs.readdirSync(cache, { recursive: true }).filter((name) => name.endsWith('.cwasm')).length
    const first = await auto(run(), { cache })
    t.is(first.told[0], 'builtin')
    t.deepEqual(first.seen, [])
    t.is(first.verdicts.length, 1)
    const { version } = require('../package.json')
    t.like(first.verdicts[0], { engine: 'builtin', basis: 'little', size: SIZE, package: version, node: process.version })
    t.regex(first.verdicts[0].reason, /^V8 compiled for \d+ ms only$/)
    t.is(artifacts(), 0)

    // As if V8 had.
    const busy = `process.cpuUsage = () => ({ user: 1e9, system: 0 });${run()}`
    t.deepEqual((await auto(busy, { cache })).verdicts, [], 'it is not known any more')
    // As it is without a word of the user's: when the machine has nothing else to do, or after some seconds.
    const judgedBy = await auto(busy, { cache })
    t.deepEqual(judgedBy.seen, [])
    t.like(judgedBy.verdicts, [{ engine: 'ours', basis: 'artifact' }])
    t.is(artifacts(), 1)
    const last = await auto(run(), { cache })
    t.deepEqual(last.told, ['optimized', await plain(t), true, true, true, true])
  })

  test('a module that this engine refuses is found out once, and never loads it again', async (t) => {
    const cache = folder(t)
    const code = `new WebAssembly.Module(${read(refused)}); tell(hasAddon())`
    const first = await auto(code, { cache, env: { ...JUDGED, ...withoutShim(t) } })
    t.is(first.told, false)
    t.like(first.verdicts[0], { engine: 'builtin', basis: 'refused' })
    t.is(first.verdicts[0].codes, undefined)
    t.regex(first.verdicts[0].reason, /^tail call at byte \d+$/)
    const second = await auto(code, { cache, env: { ...JUDGED, ...withoutShim(t), NODE_DEBUG: 'wasm-compile-cache' } })
    t.is(second.told, false)
    t.regex(second.stderr, /verdict bytes \(128 kB\): the built-in engine compiles: tail call at byte \d+/)
    t.deepEqual(second.seen, [])
  })

  test('a process that is killed leaves what the next one takes up', async (t) => {
    const cache = folder(t)
    const kills = `${run()}; process.kill(process.pid, 'SIGKILL')`
    await t.throwsAsync(auto(kills, { cache, env: JUDGED }), { message: /SIGKILL/ })
    const [word] = seen(cache)
    t.deepEqual(seen(cache), [word], 'a word of the module, of which V8 had the bytes')
    t.like(JSON.parse(fs.readFileSync(path.join(cache, 'seen', word))), { size: SIZE })
    // While it is new, another process may be about to take it up.
    const { told } = await auto(run().replace('tell([', 'tell([loaded(), '), { cache, env: JUDGED })
    t.false(told[0].includes(path.normalize('dist/judging.js')), 'what would leave it is not loaded')
    t.deepEqual(seen(cache), [word])
    const old = Date.now() / 1000 - 120
    fs.utimesSync(path.join(cache, 'seen', word), old, old)
    // This one is killed, too.
    await t.throwsAsync(auto(kills, { cache, env: JUDGED }), { message: /SIGKILL/ })
    await judged(cache)
    t.deepEqual(seen(cache), [])
    t.like(verdicts(cache), [{ engine: 'ours' }])
  })

  test('a module that the program does not have any more at its end is left at once by the next run', async (t) => {
    const cache = folder(t)
    // After some seconds, in which V8 compiled little, it is the program's alone.
    const drops = `
      ${LATER}
      process.cpuUsage = () => ({ user: 0, system: 0 })
      new WebAssembly.Module(${read(file)})
      later()
      delete process.cpuUsage
      process.cpuUsage = () => ({ user: 1e9, system: 0 })
      setTimeout(() => { gc(); tell(0) }, 1)`
    const flags = ['--expose-gc', '--require', REGISTER]
    const first = await auto(drops, { cache, flags })
    t.deepEqual([first.seen.length, first.verdicts], [1, []])
    const next = await auto(run(), { cache, env: JUDGED })
    t.deepEqual(next.seen, [])
    t.like(next.verdicts, [{ engine: 'ours' }])
  })

  test('what was read from a file beside the script that has it compiled is copied from there; another file of its size is not', async (t) => {
    const script = (at, from) => {
      const name = path.join(at, 'glue.js')
      fs.writeFileSync(name, `new WebAssembly.Module(require('node:fs').readFileSync(${JSON.stringify(from)}))`)
      return name
    }
    // As if V8 had not the bytes.
    const code = (name) => `
      process.cpuUsage = () => ({ user: 1e9, system: 0 })
      require(${JSON.stringify(shimFile())}).wire = () => { throw new Error('it is asked for the bytes') }
      require(${JSON.stringify(name)})
      tell(Object.getOwnPropertyNames(Error).filter((name) => name.startsWith('prepare')))`
    const [beside, elsewhere] = [folder(t), folder(t)]
    const bytes = fs.readFileSync(file)
    fs.writeFileSync(path.join(beside, 'b.wasm'), bytes)
    for (const at of [beside, elsewhere]) fs.writeFileSync(path.join(at, 'a.wasm'), Buffer.alloc(bytes.length))
    const { verdicts: found, told } = await auto(code(script(beside, path.join(beside, 'b.wasm'))), {
      cache: folder(t),
      env: JUDGED,
    })
    t.like(found, [{ engine: 'ours', size: SIZE }])
    t.deepEqual(
      told,
      Object.getOwnPropertyNames(Error).filter((name) => name.startsWith('prepare')),
      'nothing of it is left'
    )
    const other = await auto(code(script(elsewhere, file)), { cache: folder(t), env: JUDGED })
    t.deepEqual([other.verdicts, other.seen], [[], []])
  })

  test('a process ends, whatever keeps the child that writes what it leaves', async (t) => {
    const cache = folder(t)
    const large = path.join(root, 'large.wasm')
    fs.writeFileSync(large, padded(fs.readFileSync(file), 64 * 1024 * 1024))
    // Whoever has written it nevertheless goes on in the end.
    const code = `process.cpuUsage = () => ({ user: 1e9, system: 0 });${run(large)}
      process.on('exit', () => {
        const [child] = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').split(' ').filter(Boolean)
        process.kill(child, 'SIGSTOP')
        const later = ['-c', 'sleep 5; kill -CONT ' + child]
        require('node:child_process').spawn('sh', later, { detached: true, stdio: 'ignore', env: { PATH: process.env.PATH } })
      })`
    const { told, verdicts: found, seen: left } = await auto(code, { cache, env: JUDGED })
    t.is(told[0], 'builtin')
    if (found.length === 0) t.false(left.some((name) => name.endsWith('.wasm')))
  })

  test('what a process that ends has written for it, its parent does not wait for', async (t) => {
    const cache = folder(t)
    const code = `process.cpuUsage = () => ({ user: 1e9, system: 0 });${run()}
      process.on('exit', () => {
        // The child has nothing of its parent's, from the moment on in which it has another name.
        const [child] = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').split(' ').filter(Boolean)
        const of = (what) => fs.readFileSync('/proc/' + child + '/' + what, 'utf8').trim()
        while (of('comm') !== 'sh');
        const open = fs.readdirSync('/proc/' + child + '/fd').map((fd) => fs.readlinkSync('/proc/' + child + '/fd/' + fd))
        tell([open.filter((name) => name !== '/dev/null'), of('stat').split(' ')[5] === child, fs.readlinkSync('/proc/' + child + '/cwd')])
      })`
    const { told, verdicts: found } = await auto(code, { cache })
    t.deepEqual(told, [[], true, '/'])
    t.like(found, [{ engine: 'ours' }])
  })

  test('a worker thread leaves its modules before the process ends, of which nothing tells it', async (t) => {
    const code = `
      const { Worker } = require('node:worker_threads')
      const worker = new Worker(\`
        const { parentPort } = require('node:worker_threads')
        new WebAssembly.Module(require('node:fs').readFileSync(${JSON.stringify(file)}))
        parentPort.postMessage(0)
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)\`, { eval: true })
      worker.on('message', (message) => { tell(message); process.exit() })`
    const { seen: left, verdicts: found } = await auto(code, { cache: folder(t), env: JUDGED })
    t.deepEqual(left, [])
    t.like(found, [{ engine: 'ours', basis: 'artifact' }])
  })

  test('a program that stays leaves a module once, however often it compiles it', async (t) => {
    const cache = folder(t)
    const code = `
      ${LATER}
      require('node:child_process').spawn = () => ({ on() {}, unref() {} })
      const bytes = ${read(file)}
      const left = () => fs.readdirSync(${JSON.stringify(path.join(cache, 'seen'))})
      new WebAssembly.Module(bytes)
      const first = left().length
      later()
      // As the process that finds out.
      for (const name of left()) fs.rmSync(${JSON.stringify(path.join(cache, 'seen'))} + '/' + name)
      new WebAssembly.Module(bytes)
      tell([first, left()])`
    t.deepEqual((await auto(code, { cache, env: JUDGED })).told, [1, []])
  })

  test('what waits for its turn is what the system ends first, out of memory', async (t) => {
    const code = `
      process.cpuUsage = () => ({ user: 1e9, system: 0 })
      new WebAssembly.Module(${read(file)})
      process.on('exit', () => {
        const [child] = fs.readFileSync('/proc/self/task/' + process.pid + '/children', 'utf8').split(' ').filter(Boolean)
        const of = (what) => fs.readFileSync('/proc/' + child + '/' + what, 'utf8').trim()
        // Until the shell becomes something else.
        while (of('comm') !== 'sh' || of('oom_score_adj') !== '1000');
        tell([of('comm'), of('oom_score_adj')])
      })`
    t.deepEqual((await auto(code, { cache: folder(t) })).told, ['sh', '1000'])
  })

  test('imports that cross with every call are a reason for the built-in', async (t) => {
    const cache = folder(t)
    const bytes = padded(await assemble('(module (import "env" "invoke_vi" (func (param i32 i32))))'), SIZE)
    const name = path.join(folder(t), 'invokes.wasm')
    fs.writeFileSync(name, bytes)
    const { verdicts: found } = await auto(`new WebAssembly.Module(${read(name)}); tell(0)`, { cache, env: JUDGED })
    t.like(found[0], { engine: 'builtin', basis: 'imports' })
    t.regex(found[0].reason, /invoke_\*/)
  })

  test('an interface of many functions is a reason for the built-in', async (t) => {
    const exported = (count) => Array.from({ length: count }, (_, index) => `(export "f${index}" (func 0))`).join('')
    const judgedOf = async (name, count) => {
      const at = path.join(folder(t), `${name}.wasm`)
      fs.writeFileSync(at, padded(await assemble(`(module (func) ${exported(count)})`), SIZE))
      const { verdicts: found } = await auto(`new WebAssembly.Module(${read(at)}); tell(0)`, { cache: folder(t), env: JUDGED })
      return found[0]
    }
    t.not((await judgedOf('few', 399)).basis, 'imports')
    const many = await judgedOf('many', 400)
    t.like(many, { engine: 'builtin', basis: 'imports' })
    t.is(many.reason, 'it imports 0 functions and exports 400: an interface of small steps')
  })
} else test('the judge is tested where processes can be looked at', (t) => t.pass())
