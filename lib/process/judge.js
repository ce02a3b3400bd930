'use strict'

// The process that ../front/seen.js leaves behind: makes the artifacts of modules that ran on the built-in engine, one after
// the other, and writes which engine is the better one for each. One for the user at a time; it gives way to everything.
//
//   node dist/judge.js [now]
//
// now   without waiting for the machine to have nothing else to do
//
// What stays on the built-in engine is compiled by V8, in processes of their own (./judge-v8.js).
//
// Promise: it ends, and takes no more memory than there was when it began. native.judge() blocks this thread, so a worker
// thread watches: a module that takes too long, or too much, gets the verdict that says so, and ends the process the hard
// way; those behind it wait for the next one. It writes nothing to stdio.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { isMainThread, parentPort, Worker } = require('node:worker_threads')

const { locate, seenBudgets } = require('../front/folder.js')
const { available, bounds, shortage } = require('../front/memory.js')
const { estimate } = require('../front/seen.js')
const { CODED, chosenFor, readCurrent, settled, withoutMore, write } = require('../front/verdicts.js')
const { formatSize } = require('../cache/quantities.js')
const { codeOfV8 } = require('./judge-v8.js')
const { grounds, groundsOfInterface } = require('./grounds.js')
const { environment } = require('./started.js')

const LIMIT = 10 * 60 * 1000 // ms of CPU a module
const EVERY = 50 // ms

const folder = path.join(locate().root ?? '', 'seen')

/** Modules that wait, the oldest first: {name, file, facts}. */
function* waiting() {
  const files = fs.existsSync(folder) ? fs.readdirSync(folder).filter((file) => file.endsWith('.wasm')) : []
  for (const file of files) {
    const name = file.slice(0, -'.wasm'.length)
    yield { name, file: path.join(folder, file), facts: factsOf(name) }
  }
}

/** What the process that left the module said of it; nothing where it was killed. */
function factsOf(name) {
  const facts = {
    source: '',
    partition: '',
    standard: '',
    names: [name],
    run: undefined,
    isBuiltin: false,
    isSuspending: false,
    isWanted: false,
    tag: undefined,
    flags: [],
  }
  try {
    return { ...facts, ...JSON.parse(fs.readFileSync(path.join(folder, `${name}.json`), 'utf8')) }
  } catch {
    return facts
  }
}

function done({ name, file }) {
  fs.rmSync(file, { force: true })
  fs.rmSync(path.join(folder, `${name}.json`), { force: true })
  fs.rmSync(seenBudgets(name), { force: true })
}

function decide({ facts, ...module }, verdict) {
  const { names, source, partition, standard, run, size, tag } = facts
  write(names, settled({ source, partition, standard, size, ...(run === undefined ? {} : { run }), ...verdict }, tag))
  done(module)
}

/** CPU time of this process, in ms. */
function cpu() {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e3
}

/** Watches, in a thread of its own. */
function watch() {
  let watched
  parentPort.on('message', (module) => {
    watched = module === null ? undefined : { ...module, since: cpu() }
  })
  setInterval(() => {
    if (watched === undefined) return
    const { module, limit, needed, reserve } = watched
    const room = available()
    if (process.memoryUsage.rss() > limit) {
      const reason = `compiling it takes more than ${formatSize(limit)} of memory`
      decide(module, { engine: 'builtin', basis: 'memory', reason, needed: 2 * limit })
    } else if (room < reserve) {
      // Others have taken it meanwhile, and what they need next is not to be what the system ends this process for.
      decide(module, shortage(needed, room))
    } else if (cpu() - watched.since > LIMIT) {
      decide(module, { engine: 'builtin', basis: 'refused', reason: 'compiling it takes more than 10 minutes of CPU time' })
    } else return
    process.kill(process.pid, 'SIGKILL')
  }, EVERY)
}

/** What its interface says of a module, which V8 reads in no time. */
function look(file) {
  try {
    const module = new WebAssembly.Module(fs.readFileSync(file))
    return groundsOfInterface(WebAssembly.Module.imports(module), WebAssembly.Module.exports(module))
  } catch {
    // It is not valid, or larger than memory.
    return undefined
  }
}

/** What our engine makes of a module, as a verdict; undefined while another process compiles it. */
function judgeOurs(native, { file, name, facts }, needed, watcher) {
  const { most, reserve } = bounds(available())
  watcher.postMessage({ module: { file, name, facts }, needed, limit: most + process.memoryUsage.rss(), reserve })
  const outcome = native.judge(file, facts.source, facts.partition)
  watcher.postMessage(null)
  return outcome.code === 'EBUSY' ? undefined : grounds(outcome, facts)
}

/** What is known already, where V8's code alone is to be found out. */
function given(known, facts) {
  if (facts.isBuiltin) return known ?? { engine: 'builtin', basis: 'chosen', reason: chosenFor(facts) }
  return known?.engine === 'builtin' && known.basis !== 'chosen' && CODED.includes(known.basis) ? known : undefined
}

async function judge(native, module, watcher) {
  const { facts } = module
  facts.size = fs.statSync(module.file).size
  // What this process has taken is a part of what is needed.
  const [needed, room] = [estimate(facts.size), available() + process.memoryUsage.rss()]
  const known = readCurrent(module.name)
  if (needed > room) {
    const verdict = shortage(needed, room)
    const { tag } = facts
    // It is known, and V8's code was to be found out.
    const codes = tag === undefined ? {} : { codes: { ...known?.codes, [tag]: withoutMore(known?.codes?.[tag], verdict) } }
    decide(module, known === undefined ? verdict : { ...known, ...codes })
    return
  }
  const verdict = given(known, facts) ?? look(module.file) ?? judgeOurs(native, module, needed, watcher)
  // Another process makes the artifact: the next run of the module is told to leave it again.
  if (verdict === undefined) {
    done(module)
    return
  }
  const isCoded = facts.isBuiltin || (verdict.engine === 'builtin' && CODED.includes(verdict.basis))
  const code = isCoded ? await codeOfV8(native, module, needed, known?.codes) : undefined
  const codes = code === undefined ? known?.codes : { ...known?.codes, ...code }
  decide(module, { ...verdict, ...(codes === undefined ? {} : { codes }) })
}

/** All that waits, and what comes meanwhile. */
async function judgeAll(native) {
  const watcher = new Worker(__filename, { stdin: false, stdout: true, stderr: true })
  watcher.unref()
  for (let any = true; any;) {
    if (!native.claimJudge()) return
    any = false
    for (const module of waiting()) {
      any = true
      try {
        await judge(native, module, watcher)
      } catch {
        // It went while it was looked at, or its name is not to be removed.
        done(module)
      }
    }
    native.releaseJudge()
  }
  await new Promise((resolve) => {
    native.remoteFlush(resolve)
  })
  native.cacheRecordCounts()
}

async function main() {
  try {
    os.setPriority(os.constants.priority.PRIORITY_LOW)
  } catch {
    // Where priorities are not ours to set, it runs at the one it has.
  }
  let native
  try {
    native = require('./addon.js')
    require('../cache/environment.js').configure(native)
    // This thread has no time to start it later.
    if (environment.WASM_COMPILE_CACHE_REMOTE) require('../remote/start.js').starter()?.()
  } catch ({ message }) {
    for (const module of waiting()) decide(module, { engine: 'builtin', basis: 'failed', reason: message })
    return
  }
  native.rest(process.argv[2] !== 'now')
  await judgeAll(native)
}

if (!isMainThread) watch()
else main().finally(() => process.exit(0))
