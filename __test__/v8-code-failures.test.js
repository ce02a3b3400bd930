'use strict'
// V8's code where something fails: what is kept is damaged, V8 refuses it, it is of no use, or nothing could be kept. Whatever
// it is, V8 compiles.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const {
  LATER,
  SIZE,
  TAKE,
  addonFile,
  auto,
  brokenShim,
  change,
  seen,
  shimFile,
  verdicts,
  withoutShim,
} = require('./support/auto.js')
const { entries, folder } = require('./support/commands.js')
const { memoryGroup } = require('./support/limits.js')
const { given, linux, mappings, mentioning, over, until } = require('./support/processes.js')
const { ROOT } = require('./support/programs.js')
const { count } = require('./support/stress.js')
const { BUILTIN, QUIET, run, subject } = require('./support/v8-code.js')
const { machine, padded } = require('./support/wat.js')

const { file, kept, refused, root } = subject(test)

// ── What is damaged ────────────────────────────────────────────────────────────────────────────────────────────────────

test('nothing that was damaged reaches V8', async (t) => {
  const { cache, bytes } = await kept(t)
  const other = path.join(root, 'other.wasm')
  fs.writeFileSync(other, padded(await machine(), SIZE + 64))
  const { cache: elsewhere } = await kept(t, other)
  const [entry] = entries(cache)
  const rounds = count(20, 2000)
  // In one process: the file is replaced, as a restored backup or a broken disk would have it, and looked up.
  const code = `
    const { createHash } = require('node:crypto')
    const native = require(${JSON.stringify(addonFile())})
    require(${JSON.stringify(path.join(ROOT, 'dist/native.js'))}).load('cache/environment.js').configure(native)
    const description = require(${JSON.stringify(path.join(ROOT, 'dist/choice.js'))}).load('code/host.js').describe('')
    const [, , entry, other, rounds] = process.argv
    const bytes = fs.readFileSync(process.argv[1])
    const whole = fs.readFileSync(entry)
    const replace = (data) => { fs.writeFileSync(entry + '.new', data, { mode: 0o600 }); fs.renameSync(entry + '.new', entry) }
    const find = (about = description, partition = '') => native.findHostCode(bytes, partition, about)
    const reached = []
    let seed = 1
    const random = (limit) => { seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 12345 | 0; return (seed >>> 0) % limit }
    for (let round = 0; round < rounds; round++) {
      const damaged = Buffer.from(whole)
      const kind = round % 4
      const at = kind === 1 ? whole.length - 1 - random(300) : random(whole.length)
      if (kind < 2) damaged[at] ^= 1 << random(8)
      const data = kind < 2 ? damaged : kind === 2 ? damaged.subarray(0, at) : Buffer.concat([damaged.subarray(0, at), damaged.subarray(at + 1), Buffer.of(0)])
      if (data.equals(whole)) continue
      replace(data)
      if (find().code !== undefined) reached.push([kind, at])
    }
    replace(fs.readFileSync(other))
    const others = find().reason
    replace(whole)
    const there = find().code?.byteLength
    const misses = [{ version: '1' }, { tag: '1' }, { target: 'x' }, { options: '{}' }].map((change) => find({ ...description, ...change }).reason)
    bytes[bytes.length - 1] ^= 1
    tell([reached, others, there, [...misses, find(description, 'p').reason, find().reason]])`
  const { told } = await auto(code, { cache, args: [file, entry, entries(elsewhere)[0], rounds], env: QUIET, flags: [] })
  const missed = [...Array(4).fill('other-engine'), 'absent', 'absent']
  t.deepEqual(told, [[], 'wrong-key', bytes, missed])
})

test('code that V8 refuses is compiled anew, and goes; damaged code under a valid seal hangs nobody', async (t) => {
  const { cache, told } = await kept(t)
  const [{ codes }] = verdicts(cache)
  const [[tag]] = Object.entries(codes)
  const store = (change) => `
    const native = require(${JSON.stringify(addonFile())})
    require(${JSON.stringify(path.join(ROOT, 'dist/native.js'))}).load('cache/environment.js').configure(native)
    const description = require(${JSON.stringify(path.join(ROOT, 'dist/choice.js'))}).load('code/host.js').describe('')
    const { code } = native.findHostCode(fs.readFileSync(process.argv[1]), '', description)
    const data = Buffer.from(code)
    ;${change}
    fs.writeFileSync(process.argv[2], data)
    tell(native.storeHostCode(process.argv[1], process.argv[2], '', '', description).bytes > 0)`
  // V8's version is the second word of its header, its flags the fourth.
  for (const change of ['data[4] ^= 1', 'data[12] ^= 1', 'data[0] ^= 1']) {
    const { told: stored } = await auto(store(change), { cache, args: [file, path.join(root, 'code')], env: QUIET, flags: [] })
    t.true(stored)
    const refused = await run(file, { cache, env: { ...QUIET, NODE_DEBUG: 'wasm-compile-cache' } })
    t.deepEqual(refused.told, [0, ...told.slice(1)])
    t.regex(refused.stderr, /moduleCacheInvalid .*V8 refuses it/)
    t.deepEqual(entries(cache), [])
    t.is(refused.verdicts[0].codes[tag], undefined)
    t.true((await run(file, { cache, env: BUILTIN })).verdicts[0].codes[tag].bytes > 0, 'and is made again')
  }
})

// ── Where there is nothing to be had ───────────────────────────────────────────────────────────────────────────────────

test('without a shim, or with one that cannot be loaded, everything is as without this package', async (t) => {
  const { cache, told } = await kept(t)
  const code = `
    const module = new WebAssembly.Module(fs.readFileSync(process.argv[1]))
    tell(new WebAssembly.Instance(module, { env: { tick: (x) => x + 1 } }).exports.run(9))`
  const none = await auto(code, { cache, args: [file], env: { ...QUIET, ...withoutShim(t) } })
  t.deepEqual([none.told, none.stderr], [told[1], ''])
  const fresh = folder(t)
  const asked = await auto(code, { cache: fresh, args: [file], env: { ...BUILTIN, ...withoutShim(t) } })
  t.deepEqual([asked.told, asked.seen, asked.verdicts], [told[1], [], []])

  const broken = brokenShim(t)
  const refusing = await auto(code, { cache, args: [file], env: { ...QUIET, ...broken } })
  t.deepEqual([refusing.told, refusing.stderr], [told[1], ''])
  // What cannot be had from V8 at the end is left at once by the next run.
  const first = await auto(code, { cache: fresh, args: [file], env: { ...BUILTIN, ...broken } })
  t.deepEqual([first.told, first.seen.length, first.verdicts], [told[1], 1, []])
  const tried = await auto(code, { cache: fresh, args: [file], env: { ...BUILTIN, ...broken } })
  t.deepEqual([tried.told, tried.seen], [told[1], []])
  const [{ codes }] = tried.verdicts
  t.deepEqual(Object.values(codes), [{ reason: 'there is no shim for this Node' }])
})

if (linux) {
  /** A run after which V8 compiles a module that is large enough for it to be at work for a while; and its compilers. */
  async function compiling(cache) {
    const large = path.join(ROOT, 'node_modules/mupdf/dist/mupdf-wasm.wasm')
    const code = 'tell(WebAssembly.Module.exports(new WebAssembly.Module(fs.readFileSync(process.argv[1]))).length)'
    const running = auto(code, { cache, args: [large], env: BUILTIN })
    const compilers = () => mentioning(path.join(ROOT, 'dist/compile-v8.js')).filter((pid) => isOf(pid, cache))
    await until(() => compilers().some((pid) => mappings(pid, path.basename(shimFile())).length > 0), "V8's compiler")
    return { running, compilers: compilers() }
  }

  test('a compiler that is killed is remembered, and leaves nothing', async (t) => {
    const cache = folder(t)
    const { running, compilers } = await compiling(cache)
    for (const pid of compilers) process.kill(pid, 'SIGKILL')
    const { verdicts: found, seen: left } = await running
    t.deepEqual(Object.values(found[0].codes), [{ reason: "V8's compiler ended with SIGKILL" }])
    t.deepEqual(left, [])
    t.deepEqual(entries(cache), [])
    const code = 'new WebAssembly.Module(fs.readFileSync(process.argv[1])); tell(0)'
    const args = [path.join(ROOT, 'node_modules/mupdf/dist/mupdf-wasm.wasm')]
    const { seen: again, verdicts: later } = await auto(code, { cache, args, env: BUILTIN })
    t.deepEqual([again, later[0].codes], [[], found[0].codes], 'and not tried again')
  })

  test('where there is no room for a compiler, that is known, and that it is not for more', async (t) => {
    const group = memoryGroup(t, 90 * 2 ** 20)
    if (group === undefined) return t.pass()
    const cache = folder(t)
    const code = `new WebAssembly.Module(fs.readFileSync(${JSON.stringify(refused)})); tell(0)`
    const env = { WASM_COMPILE_CACHE_FINISH: 'now' }
    const known = { engine: 'builtin', basis: 'refused' }
    const without = await auto(code, { cache, env: { ...env, ...withoutShim(t) } })
    t.like(without.verdicts, [{ ...known, codes: undefined }])
    const inside = await auto(code, { cache, env, group })
    t.like(inside.verdicts, [known])
    t.deepEqual(inside.seen, [])
    const [{ reason, needed }] = Object.values(inside.verdicts[0].codes)
    t.regex(reason, /^compiling it takes some \d+ MB of memory, and \d+ MB are free$/)
    t.true(needed > 80 * 2 ** 20)
    const outside = await auto(code, { cache, env })
    t.like(outside.verdicts, [known])
    t.true(Object.values(outside.verdicts[0].codes)[0].bytes > 0)
  })

  // By itself: it looks at a process that does not take long.
  test.serial('a compiler gives up before others lack the memory that it has', async (t) => {
    const group = memoryGroup(t, 1000 * 2 ** 20)
    if (group === undefined) return t.pass()
    const large = path.join(ROOT, 'node_modules/mupdf/dist/mupdf-wasm.wasm')
    const code = `
      ${LATER}${TAKE}
      const { spawn } = require('node:child_process')
      let child
      require('node:child_process').spawn = (...list) => (child = spawn(...list))
      new WebAssembly.Module(fs.readFileSync(${JSON.stringify(large)}))
      later()
      child.on('exit', () => { clearInterval(timer); tell(taken.length > 0) })
      const childrenOf = (pid) => fs.readFileSync('/proc/' + pid + '/task/' + pid + '/children', 'utf8').split(' ').filter(Boolean)
      const sizeOf = (pid) => Number(/^VmRSS:\\s*(\\d+) kB/m.exec(fs.readFileSync('/proc/' + pid + '/status', 'utf8'))?.[1])
      // Once it is at work, which must not be over before the memory is taken.
      const timer = setInterval(() => {
        try {
          const compilers = childrenOf(child.pid).filter((pid) => sizeOf(pid) > 90 * 1024)
          for (const pid of compilers) process.kill(pid, 'SIGSTOP')
          if (compilers.length > 0) take(${40 * 2 ** 20})
        } catch {
          // One has ended between two of these: the next time others are seen.
        }
      }, 5)
      child.ref()`
    const { told, seen: left, verdicts: found } = await auto(code, { cache: folder(t), env: BUILTIN, group })
    t.deepEqual([told, left], [true, []])
    const [{ reason, needed }] = Object.values(found[0].codes)
    t.regex(reason, /^compiling it takes some/)
    t.true(needed > 80 * 2 ** 20)
  })

  test('a compiler ends with the judge, also where it is stopped', async (t) => {
    const cache = folder(t)
    const { running, compilers } = await compiling(cache)
    for (const pid of compilers) process.kill(pid, 'SIGSTOP')
    for (const pid of mentioning(path.join(ROOT, 'dist/judge.js'))) if (isOf(pid, cache)) process.kill(pid, 'SIGKILL')
    await running
    await over(compilers)
    t.is(seen(cache).filter((name) => name.endsWith('.wasm')).length, 1, 'the next run has it taken up')
  })
}

const isOf = (pid, cache) => ['cmdline', 'environ'].some((what) => given(pid, what).includes(cache))

// ── What a verdict says of it ──────────────────────────────────────────────────────────────────────────────────────────

test('what a verdict says of code is believed only as far as it can cost time', async (t) => {
  const { cache, tag, told } = await kept(t)
  for (const codes of [null, 7, 'x', { [tag]: null }, { [tag]: 'x' }, { [tag]: { bytes: -1, runs: 7, called: 1, rounds: 'x' } }]) {
    change(cache, { codes })
    const { told: found } = await run(file, { cache, env: QUIET })
    t.deepEqual(found.slice(1), told.slice(1), JSON.stringify(codes))
  }
})

const LARGE = 2 ** 40 // bytes

// What the run on which it is based is said to have taken, and those with the code before this one; and what is said then.
const WORSE = {
  'took no less time': [{ wall: 0.001, peak: LARGE }, /^its code took [\d.]+ m?s for 0\.00 ms$/],
  'took more memory': [{ wall: 1e6, peak: 1000 }, /^its code took [\d.]+ MB of memory for 1\.0 kB$/],
}

for (const [what, [taken, reason]] of Object.entries(WORSE)) {
  test(`a run that ${what} with its code goes without`, async (t) => {
    const { cache } = await kept(t)
    const [{ run: first, codes }] = verdicts(cache)
    const [[tag, code]] = Object.entries(codes)
    const runs = Array.from({ length: 2 }, () => ({ wall: 100, cpu: 100, peak: LARGE }))
    change(cache, { run: { ...first, ...taken }, codes: { [tag]: { ...code, runs, isPartial: true } } })
    const hot = await run(file, { cache, env: QUIET })
    t.true(hot.told[0] > 0)
    t.regex(hot.verdicts[0].codes[tag].reason, reason)
    const later = await run(file, { cache, env: BUILTIN })
    t.deepEqual([later.told[0], later.seen, later.verdicts[0].codes], [0, [], hot.verdicts[0].codes], 'nor is it asked for again')
  })
}

// Where this package's engine has run the same command before.
for (const [what, wall, engine, reason] of [
  ['took no less time than', 0.001, 'ours', /^1 s for 2 s; of V8's code: its code took [\d.]+ m?s for 0\.00 ms$/],
  ['took less time than', 1e6, 'builtin', /^ours took 1 s for 2 s, and V8's code may take less$/],
]) {
  test(`code that ${what} this package's engine`, async (t) => {
    const { cache } = await kept(t)
    const [{ run: first, codes }] = verdicts(cache)
    const [[tag, code]] = Object.entries(codes)
    const runs = Array.from({ length: 2 }, () => ({ wall: 1e5, cpu: 1e5, peak: LARGE }))
    change(cache, {
      basis: 'use',
      reason: "ours took 1 s for 2 s, and V8's code may take less",
      run: { ...first, wall: 2e6, cpu: 1e6, peak: LARGE },
      ours: { wall, reason: '1 s for 2 s' },
      codes: { [tag]: { ...code, runs } },
    })
    const env = { WASM_COMPILE_CACHE_FINISH: '0' }
    const hot = await run(file, { cache, env })
    t.true(hot.told[0] > 0)
    t.is(hot.verdicts[0].engine, engine)
    t.regex(hot.verdicts[0].reason, reason)
    t.is(hot.verdicts[0].isTried, engine === 'ours' ? true : undefined)
  })
}

test("where there is no code in the end, it is for this package's engine again", async (t) => {
  const { cache } = await kept(t)
  // What it says of code is of another V8.
  change(cache, { basis: 'use', codes: undefined, ours: { wall: 1000, reason: '1 s for 2 s' } })
  // V8 optimises nothing of it, and is not asked to compile all.
  const { verdicts: found } = await run(file, { cache, env: {} })
  t.like(found[0], { engine: 'ours', isTried: true })
  t.regex(found[0].reason, /^1 s for 2 s; of V8's code: V8 /)
})

test('a run that took less of both keeps its code', async (t) => {
  const { cache } = await kept(t)
  const [{ run: first, codes }] = verdicts(cache)
  const [[tag, code]] = Object.entries(codes)
  const runs = Array.from({ length: 2 }, () => ({ wall: 1e5, cpu: 1e5, peak: LARGE }))
  change(cache, { run: { ...first, wall: 1e6, cpu: 1e6, peak: LARGE }, codes: { [tag]: { ...code, runs } } })
  const hot = await run(file, { cache, env: QUIET })
  const { [tag]: after } = hot.verdicts[0].codes
  t.deepEqual([hot.told[0] > 0, after.reason, after.runs.length], [true, code.reason, 3])
})
