'use strict'
// node command.js <job in JSON>: a command that compiles modules and ends. Its last line on stdout is JSON: what became
// of each module, and every event, those of its end included.
//
// modules   [{file, as, options, calls, sections}]
//             as        'bytes' (default), 'sync', 'response', 'stream' or 'file'
//             calls     [[export, ...arguments]]; without, nothing is instantiated
//             sections  names of custom sections to list
//             catches   true: an error is told, not thrown
// at        'once': all modules are asked for before the first is there; default: one after the other
// end       'optimized' (default: the optimizing tier is waited for), 'return', 'exit', 'throw'
// flush     true: all that is stored is stored, and sent, before the end
// busy      true: the optimizing tier has something larger to do first, which is not cached
// ready     true: prints "ready" when all is loaded, then waits for the end of stdin
// flight    'holders' or 'waiting': goes on once this process holds, or waits for, the lock of a module (Linux only)
// freeze    true: stops each finisher (SIGSTOP) before it has done anything
// naked     true: empties process.env once the package is loaded
// lose      a folder that is removed, with what is in it, once the first module is done
// chdir     a folder to go to, and to remove, once the package is loaded
// umask     as it says
// files     so many can be opened while the first module is compiled; the cache is open by then (Linux only)

const { subscribe } = require('node:diagnostics_channel')
const fs = require('node:fs')
const path = require('node:path')
const { Readable } = require('node:stream')
const { pathToFileURL } = require('node:url')

const job = JSON.parse(process.argv[2])
const cache = path.resolve(process.env.WASM_COMPILE_CACHE ?? '.')

const W = require('../../index.js')
const { NAMES } = require('../../dist/engine.js').load('events/events.js')
const { locks, until } = require('../support/processes.js')

const LARGE = require.resolve('sql.js/dist/sql-wasm.wasm')

const events = []
for (const name of NAMES) {
  subscribe(`wasm-compile-cache:${name}`, (event) => {
    events.push(event)
    if (name === 'handedOff' && job.freeze) process.kill(event.pid, 'SIGSTOP')
  })
}

const modules = []
/** After the package's own handler, which it has when it is first used. */
function printAtExit() {
  void W.cache
  process.on('exit', () =>
    fs.writeSync(
      1,
      `${JSON.stringify({ pid: process.pid, modules, events, ...(job.flush ? { counts: W.cache.stats().process } : {}) })}\n`
    )
  )
}

const sources = {
  bytes: (file, options) => W.compile(fs.readFileSync(file), options),
  sync: (file, options) => new W.Module(fs.readFileSync(file), options),
  response: (file, options) => {
    const headers = { 'content-type': 'application/wasm' }
    return W.compileStreaming(new Response(fs.readFileSync(file), { headers }), options)
  },
  stream: (file, options) => W.compileStreaming(Readable.from(pieces(fs.readFileSync(file))), options),
  file: (file, options) => W.compileStreaming(pathToFileURL(file), options),
}

function* pieces(bytes) {
  const length = Math.ceil(bytes.length / 7)
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
}

/** What this process has read so far, in bytes; every thread and every file counts (Linux only). */
const read = () =>
  Number(/^rchar: (\d+)/m.exec(fs.existsSync('/proc/self/io') ? fs.readFileSync('/proc/self/io', 'utf8') : 'rchar: 0')[1])

/** The artifacts in the cache at this moment. */
function stored() {
  try {
    return fs.readdirSync(cache, { recursive: true }).filter((name) => name.endsWith('.cwasm')).length
  } catch {
    return 0 // there is no such directory, or it cannot be listed
  }
}

/** Opens files until no more than `left` can be opened; what closes them. */
function exhaust(left) {
  W.cache.enable()
  const opened = []
  try {
    for (;;) opened.push(fs.openSync('/dev/null'))
  } catch (error) {
    if (error.code !== 'EMFILE') throw error
  }
  for (const descriptor of opened.splice(0, left)) fs.closeSync(descriptor)
  return () => opened.forEach((descriptor) => fs.closeSync(descriptor))
}

function listing(module, sections) {
  const contents = sections.map((name) => W.Module.customSections(module, name).map((one) => Buffer.from(one).toString('hex')))
  return { imports: W.Module.imports(module), exports: W.Module.exports(module), contents }
}

async function compile({ file, as = 'bytes', options, calls, sections, catches }, index) {
  const before = read()
  const release = job.files !== undefined && index === 0 ? exhaust(job.files) : () => {}
  let module
  try {
    module = await sources[as](file, options)
    release()
  } catch (error) {
    if (!catches) throw error
    modules[index] = { error: { name: error.name, code: error.code, message: error.message } }
    return undefined
  }
  const told = { stored: stored(), read: read() - before, tier: W.Module.tier(module) }
  if (sections) told.listing = listing(module, sections)
  if (calls) {
    const { exports } = new W.Instance(module, { env: { tick: (x) => x + 1 } })
    told.results = calls.map(([name, ...parameters]) => exports[name](...parameters))
  }
  modules[index] = told
  return module
}

/** Whether this process is among the 'holders', or those 'waiting', of a module's lock. */
const isAmong = (who) =>
  fs
    .readdirSync(cache, { recursive: true })
    .filter((name) => /[0-9a-f]{64}\.lock$/.test(name))
    .some((name) => locks(path.join(cache, name))[who].includes(process.pid))

async function main() {
  if (job.umask !== undefined) process.umask(job.umask)
  if (job.naked) for (const name of Object.keys(process.env)) delete process.env[name]
  if (job.chdir) {
    process.chdir(job.chdir)
    fs.rmdirSync(job.chdir)
  }
  printAtExit()
  if (job.ready) {
    fs.writeSync(1, 'ready\n')
    fs.readSync(0, Buffer.alloc(1))
  }
  const kept = []
  if (job.busy) kept.push(await W.compile(fs.readFileSync(LARGE), { cache: false, baseline: 'eager' }))
  if (job.at === 'once') kept.push(...(await Promise.all(job.modules.map(compile))))
  else {
    for (const [index, module] of job.modules.entries()) {
      kept.push(await compile(module, index))
      if (!job.lose || index > 0) continue
      await W.Module.optimized(kept[0])
      fs.rmSync(job.lose, { recursive: true })
    }
  }
  if (job.flight) await until(() => isAmong(job.flight), `it is among the ${job.flight} of a lock`)
  if (job.end === 'exit') process.exit(3)
  if (job.end === 'throw') throw new Error('the end of the command')
  if (job.end === 'return') return
  const waits = kept.slice(job.busy ? 1 : 0).map((module, index) => {
    const told = modules[index]
    const settled = (state) => () => (told.optimized = state)
    told.optimized = 'pending'
    if (module === undefined) return undefined
    return W.Module.optimized(module).then(settled('done'), settled('rejected'))
  })
  await Promise.all(waits.filter((_, index) => job.modules[index].options?.optimize !== false))
  if (job.flush) await W.cache.flush()
  await new Promise((resolve) => setImmediate(resolve))
  // What is still pending would keep the process.
  if (modules.some(({ optimized, error }) => optimized === 'pending' && error === undefined)) process.exit()
}

main()
