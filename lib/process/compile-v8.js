'use strict'

// The processes in which ./judge-v8.js has V8 compile a module, by its optimizing compiler; and then, in another one, take the
// code again.
//
//   node dist/compile-v8.js name|compile|take <wasm> <folder> <judge> <profile> <options> [<flag>...]
//
// wasm      the module's file
// folder    with `calls`, what is known of the functions that were called (../code/calls.js), and `before`, those that were
//           called in earlier runs; `compile` writes `code` and `sample` there
// judge     the id of the process that has started this one, and with which it ends
// profile   the name that V8 has for a file that says which functions to optimise, as `name` has it say; '-' for all of them
// options   of the standard's, with which the module is compiled (../code/standard.js); '' where there are none
// flag      of V8 or Node, as the program had it whose module it is: V8's shape the code
//
// `compile` and `take` try a module of their own first, whose results are known; a V8 that does not pass gets no code. What they
// print is for the judge: a line break when they may be stopped, {tag, ms, called, problem} in the last line.

const fs = require('node:fs')
const path = require('node:path')
const v8 = require('node:v8')

const { calledIn, pack, unpack } = require('../code/calls.js')
const host = require('../code/host.js')
const { optionsOf } = require('../code/standard.js')
const native = require('./addon.js')

const SAMPLE = Buffer.from(
  'AGFzbQEAAAABBgFgAX8BfwIHAQFtAWYAAAMEAwAAAAQEAXAAAgUDAQABBwcBA3J1bgADCQgBAEEACwIBAgo7AwcAIABBA2wLBgAgABAACyoB' +
    'An8DQCACIAEgAUEBcREAAGpBCC0AAGohAiABQQFqIgEgAEkNAAsgAgsLBwEAQQgLAQc=',
  'base64'
)

/** What the sample does: calls of its own functions through a table, of an import, and a byte of its memory. */
function isRight(module) {
  const { run } = new WebAssembly.Instance(module, { m: { f: (value) => value + 1 } }).exports
  return run(10) === 160
}

/** From V8 13 on the optimizing compiler inlines by what was called before, and may fail where nothing was. */
const INLINING = [
  [13, 'wasm-inlining'],
  [14, 'wasm-inlining-call-indirect'],
]
const VERSION = Number.parseInt(process.versions.v8, 10)
const inlining = INLINING.filter(([since]) => VERSION >= since).map(([, flag]) => flag)

/** Everything at once, by the optimizing compiler. */
const ALL = ['liftoff', 'wasm-lazy-compilation', 'wasm-dynamic-tiering', ...inlining].map((flag) => [flag, false])

/** What the profile names, and nothing else. */
const PROFILE = [['experimental-wasm-pgo-from-file', true], ...['wasm-dynamic-tiering', ...inlining].map((flag) => [flag, false])]

const set = (flags, isOn) => flags.forEach(([flag, wanted]) => v8.setFlagsFromString(`--${wanted === isOn ? '' : 'no-'}${flag}`))

/** The number that V8 has of its flags is in the code. */
async function withFlags(flags, action) {
  const before = host.tag()
  // A compile does not keep every Node alive.
  const alive = setInterval(() => {}, 1 << 30)
  set(flags, true)
  try {
    return await action()
  } finally {
    set(flags, false)
    clearInterval(alive)
    if (host.tag() !== before) fail("V8's flags cannot be set back")
  }
}

function fail(problem) {
  process.stdout.write(`\n${JSON.stringify({ problem })}`)
  process.exit(1)
}

/** V8 says what it would call the file. */
function name(bytes, options) {
  return withFlags(PROFILE, () => new WebAssembly.Module(bytes, options))
}

/** Which functions were called, in any run; undefined where that is not known. */
function called(bytes) {
  if (!fs.existsSync('calls')) return undefined
  const now = calledIn(bytes, fs.readFileSync('calls'))
  if (now === undefined || !fs.existsSync('before')) return now
  const before = unpack(fs.readFileSync('before', 'latin1'), now.length)
  return now.map((one, index) => one | before[index])
}

/** CPU time of this process, in ms. */
const cpu = () => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e3
}

const LOOK = 250 // ms
const QUIET = 4

/** When V8's compiler threads have nothing left to do: they do not say so. What they have not done then, is not in the code. */
async function compilersRest() {
  let [before, quiet] = [cpu(), 0]
  while (quiet < QUIET) {
    await new Promise((resolve) => setTimeout(resolve, LOOK))
    const now = cpu()
    quiet = now - before < LOOK / 10 ? quiet + 1 : 0
    before = now
  }
}

/** What V8's format has for a function: that it was called, and optimised. There is no feedback before them. */
const profileOf = (functions) => Uint8Array.from([0, ...functions.map((one) => 3 * one)])

async function compile(shim, bytes, options, profile) {
  const functions = profile === '-' ? undefined : called(bytes)
  const sample = await withFlags(ALL, () => WebAssembly.compile(SAMPLE))
  let module
  if (functions === undefined) module = await withFlags(ALL, () => WebAssembly.compile(bytes, options))
  else {
    fs.writeFileSync(profile, profileOf(functions))
    module = await withFlags(PROFILE, async () => {
      const made = new WebAssembly.Module(bytes, options)
      await compilersRest()
      return made
    })
  }
  const compiled = { sample: shim.serialize(sample), code: shim.serialize(module) }
  if (!isRight(sample) || Object.values(compiled).includes(undefined)) fail('V8 gives no code')
  for (const [file, code] of Object.entries(compiled)) fs.writeFileSync(file, new Uint8Array(code))
  return { called: functions === undefined ? undefined : pack(functions) }
}

function take(shim, bytes, options) {
  const { give, mayGive } = require('../code/revive.js')
  if (!mayGive(undefined) || !mayGive(options)) fail("another addon has Node's place")
  const sample = give(shim, SAMPLE, fs.readFileSync('sample'), {}, WebAssembly)
  if (sample === undefined || !isRight(sample)) fail('V8 does not take what it gave')
  const code = fs.readFileSync('code')
  const { byteLength } = code
  // This process may be stopped meanwhile, and waits for everybody.
  const since = cpu()
  const module = give(shim, bytes, code, { options }, WebAssembly)
  const ms = cpu() - since
  if (module === undefined || shim.serialize(module)?.byteLength !== byteLength) fail('V8 does not take what it gave')
  return { ms }
}

const TASKS = { name: (_, bytes, options) => name(bytes, options), compile, take }

async function main([what, wasm, folder, judge, profile, standard, ...given]) {
  if (!native.endWith(Number(judge))) return
  // From now on it may be stopped.
  process.stdout.write('\n')
  // Node's own are nothing to V8, which says so on a stderr that nobody reads.
  for (const flag of given) v8.setFlagsFromString(flag)
  const shim = host.load()
  if (shim === undefined) fail('there is no shim for this Node')
  const bytes = fs.readFileSync(path.resolve(wasm))
  process.chdir(folder)
  const found = await TASKS[what](shim, bytes, optionsOf(standard), profile)
  process.stdout.write(`\n${JSON.stringify({ tag: host.tag(), ...found })}`)
  process.exit(0)
}

main(process.argv.slice(2)).catch(({ message }) => fail(message))
