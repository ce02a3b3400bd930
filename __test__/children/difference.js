'use strict'
// Runs modules on the built-in and, in several modes, on our engine. What to do comes as JSON in the first argument:
//   {generator, args}    the modules that the generator makes with these arguments, of which the first is a seed
//   {seed, mode}         the module in the file that is the second argument, in one mode; ends with 3 if there is a difference
// Lines of JSON go to stdout: what is about to begin, each difference, and at the end what happened how often.

const { execFileSync } = require('node:child_process')
const diagnostics = require('node:diagnostics_channel')
const { once } = require('node:events')
const { readFileSync, writeSync } = require('node:fs')
const path = require('node:path')
const { Worker } = require('node:worker_threads')

const { Life } = require('../difference/life.js')
const { Difference, MODES, compare } = require('../difference/modes.js')
const { variant } = require('./modules.js')
const W = require('../../index.js')

const builtin = globalThis.WebAssembly

// At once, so that it is there when the process crashes.
const tell = (what) => writeSync(1, `${JSON.stringify(what)}\n`)

function* generated(generator, args) {
  const all = execFileSync(generator, args, { maxBuffer: Infinity })
  for (let at = 0, seed = Number(args[0]); at < all.length; seed++) {
    const start = at + 4
    at = start + all.readUInt32LE(at)
    yield { seed, bytes: all.subarray(start, at) }
  }
}

const workers = []

async function inWorker(one, job) {
  one.postMessage(job)
  const [difference] = await once(one, 'message')
  if (difference !== undefined) throw new Difference(difference)
}

function worker() {
  const started = new Worker(path.join(__dirname, 'difference-worker.js'))
  // The end of this process, too.
  started.on('error', (error) => {
    throw error
  })
  return started
}

/** Runs `job` in two worker threads at once. */
async function share(job) {
  while (workers.length < 2) workers.push(worker())
  const ended = await Promise.allSettled(workers.map((one) => inWorker(one, job)))
  for (const { reason } of ended) if (reason !== undefined) throw reason
}

/** The built-in's transcript, the number of its steps, and what happened. */
function reference(bytes, seed) {
  const life = new Life(builtin, new builtin.Module(bytes), seed)
  const steps = life.steps()
  for (let count = 0; ; count++) {
    const { done, value } = steps.next()
    if (done) return { expected: value, count, counts: life.counts }
  }
}

/** The difference, if there is one. */
async function difference(name, bytes, seed, { expected, count }) {
  const { options, run } = MODES[name]
  const at = seed % count
  try {
    const module = await W.compile(variant(bytes, name), { ...options, cache: false })
    await run({
      module,
      live: () => new Life(W, module, seed).steps(),
      check: (transcript, life) => compare(expected, transcript, life),
      at,
      share: (mode) => share({ mode, module, seed, expected, at }),
    })
  } catch (error) {
    return error instanceof Difference ? error.message : error.stack
  }
}

async function runAll({ generator, args }) {
  const sums = { modules: 0, early: 0 }
  diagnostics.subscribe('wasm-compile-cache:optimizedReady', ({ early }) => (sums.early += early))
  for (const { seed, bytes } of generated(generator, args)) {
    tell({ began: { seed, mode: 'the built-in' } })
    const wanted = reference(bytes, seed)
    for (const mode of Object.keys(MODES)) {
      tell({ began: { seed, mode } })
      const found = await difference(mode, bytes, seed, wanted)
      if (found !== undefined) tell({ difference: { seed, mode, found } })
    }
    sums.modules++
    for (const [name, count] of Object.entries(wanted.counts)) sums[name] = (sums[name] ?? 0) + count
  }
  tell({ sums })
}

async function runOne({ seed, mode }, file) {
  const bytes = readFileSync(file)
  const found = await difference(mode, bytes, seed, reference(bytes, seed))
  if (found === undefined) return
  console.log(found)
  process.exitCode = 3
}

async function main() {
  const job = JSON.parse(process.argv[2])
  if (job.generator === undefined) await runOne(job, process.argv[3])
  else await runAll(job)
  for (const one of workers) await one.terminate()
}

main()
