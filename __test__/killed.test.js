'use strict'
// Processes that are killed at any moment of compiling and writing leave nothing wrong behind, and nothing at all for long.

const { spawn } = require('node:child_process')
const { EventEmitter, once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')

const { assemble, chain, variant } = require('./children/modules.js')
const newRandom = require('./children/random.js')
const { HOT, entries, environment, files, litter, run, story } = require('./support/commands.js')
const { count } = require('./support/stress.js')
const { remove } = require('./support/remove.js')

const COMMAND = path.join(__dirname, 'children/killed.js')
const FINISH = path.join(__dirname, '../dist/finish.js')

const KILLS = count(20, 2000)
const SEED = Number(process.env.SEED ?? Date.now() % 1e6)
const PHASES = ['stream', 'baseline', 'optimizing', 'finisher']
const LANES = 4
const MODULES = 16
const HOUR = 60 * 60 * 1000

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-killed-'))
test.after.always(() => remove(root))

const cache = path.join(root, 'cache')
const random = newRandom(SEED)
const spools = []
let modules
let right

/** Starts a process, and tells its words as they come. Ends with its last word; throws unless it ended well or was killed. */
async function victim(args, env, heard) {
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env })
  const child = spawn(process.execPath, args, { env: all, stdio: ['ignore', 'pipe', 'pipe'] })
  let [said, stderr] = ['start', '']
  let rest = ''
  child.stderr.on('data', (text) => (stderr += text))
  child.stdout.on('data', (text) => {
    const lines = `${rest}${text}`.split('\n')
    rest = lines.pop()
    for (const line of lines) {
      const [word, what] = line.split(' ')
      if (word === 'spooled') spools.push(what)
      else said = word
      heard(said, child)
    }
  })
  heard(said, child)
  const [code, signal] = await once(child, 'close')
  if (signal !== 'SIGKILL' && (code !== 0 || stderr !== '')) throw new Error(`${signal ?? code} after ${said}\n${stderr}`)
  return { said, killed: signal === 'SIGKILL' }
}

const command = (heard) => {
  // Some are started on what is stored, some on what others have left, some on nothing.
  if (random(3) === 0) for (const entry of entries(cache)) fs.rmSync(entry, { force: true })
  const env = { EXPECTED: right, HAND_OFF: `${random(4) >> 1}` }
  return victim([COMMAND, modules[random(MODULES)]], env, heard)
}

const finisher = (heard) => victim([FINISH, spools.shift()], {}, heard)

/** How long processes take from their first word to their end, and finishers from their start, in ms; nobody is killed. */
async function times() {
  const measured = { command: 0, finisher: 0 }
  const lane = async () => {
    for (let round = 0; round < 3; round++) {
      let begun
      const heard = (said) => (begun ??= said === 'stream' ? performance.now() : undefined)
      await command(heard)
      measured.command = Math.max(measured.command, performance.now() - begun)
      if (spools.length === 0) continue
      const started = performance.now()
      await finisher(() => {})
      measured.finisher = Math.max(measured.finisher, performance.now() - started)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  return measured
}

test(`${KILLS} processes are killed while they compile and write`, async (t) => {
  t.timeout(20 * 60 * 1000)
  t.log(`SEED=${SEED}`)
  const bytes = await assemble(chain(20))
  const { instance } = await WebAssembly.instantiate(bytes, { env: { tick: (x) => x + 1 } })
  right = `${instance.exports.run(20)}`
  modules = Array.from({ length: MODULES }, (_, index) => {
    const file = path.join(root, `${index}.wasm`)
    fs.writeFileSync(file, variant(bytes, `${index}`))
    return file
  })

  const measured = await times()
  const [version] = fs.readdirSync(cache).filter((name) => name.startsWith('v'))
  const writing = new EventEmitter()
  const watcher = fs.watch(path.join(cache, version), (_, name) => name?.startsWith('.tmp-') && writing.emit('begun'))
  t.teardown(() => watcher.close())
  const counts = {}
  let [killed, ended] = [0, 0]
  const round = async () => {
    const isFinisher = spools.length > 0 && random(8) === 0
    // Early moments more often than late ones: a process that finds its module is soon at its end.
    const delay = random(1 + random(1 + Math.ceil(isFinisher ? measured.finisher : measured.command)))
    const onWrite = random(4) === 0
    let [timer, kill] = []
    const heard = (said, child) => {
      if (kill !== undefined || (said === 'start' && !isFinisher)) return
      kill = () => child.kill('SIGKILL')
      if (onWrite) writing.once('begun', kill)
      else timer = setTimeout(kill, delay)
    }
    const one = await (isFinisher ? finisher : command)(heard)
    clearTimeout(timer)
    writing.off('begun', kill)
    if (one.killed) {
      killed += 1
      const name = isFinisher ? 'finisher' : one.said
      counts[name] = (counts[name] ?? 0) + 1
    } else {
      ended += 1
      if (!isFinisher) t.is(one.said, 'right')
    }
  }
  // However few are killed: some in each phase, and some while they write.
  const isMissing = () =>
    PHASES.some((phase) => counts[phase] === undefined) || !litter(cache).some((name) => name.includes('.tmp-'))
  const lane = async () => {
    while (killed < KILLS || isMissing()) await round()
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  const left = litter(cache)
  const kinds = Object.fromEntries(
    ['.tmp-', '.lock', '.spool'].map((kind) => [kind, left.filter((name) => name.includes(kind)).length])
  )
  t.log(measured, 'killed after', counts, `${ended} ended before; left behind`, kinds)

  // Every later run is right, with whatever has been left.
  for (const [index, file] of modules.entries()) {
    const told = await run({ modules: [{ file, options: { minSize: 0 }, calls: [['run', 20]] }] }, { cache })
    t.deepEqual(told.modules[0].results, [Number(right)], `module ${index}`)
    const hot = await run({ modules: [{ file, options: { minSize: 0 }, calls: [['run', 20]] }] }, { cache })
    t.deepEqual(hot.modules[0].results, [Number(right)])
    t.deepEqual(story(hot), HOT)
  }

  // Two hours later whoever stores something sweeps.
  const then = new Date(Date.now() - 2 * HOUR)
  for (const name of files(cache)) fs.utimesSync(path.join(cache, name), then, then)
  const last = path.join(root, 'last.wasm')
  fs.writeFileSync(last, variant(bytes, 'last'))
  await run({ modules: [{ file: last, options: { minSize: 0 } }] }, { cache })
  t.deepEqual(litter(cache), [])
  for (const file of modules) {
    const told = await run({ modules: [{ file, options: { minSize: 0 }, calls: [['run', 20]] }] }, { cache })
    t.deepEqual([told.modules[0].results, story(told)], [[Number(right)], HOT])
  }
})
