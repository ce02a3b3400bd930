'use strict'

// The processes in which ./judge.js has V8 compile: all of a module, by its optimizing compiler; and then, in another one,
// take the code again.
//
//   node dist/compile-v8.js compile|take <wasm> <code> <judge> [<flag>...]
//
// wasm, code   files: the module, and its code, which `compile` writes
// judge        the id of the process that has started this one, and with which it ends
// flag         of V8 or Node, as the program had it whose module it is: V8's shape the code
//
// Both try a module of their own first, whose results are known; a V8 that does not pass gets no code. What they print is for
// the judge: a line break when they may be stopped, {tag, ms, problem}. They write no other file than the code's.

const fs = require('node:fs')
const v8 = require('node:v8')

const host = require('../code/host.js')
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

/**
 * Flags that have V8 compile everything at once, with its optimizing compiler. From V8 13 on, that one inlines by what was
 * called before, and fails where nothing was.
 */
function flags() {
  const version = Number.parseInt(process.versions.v8, 10)
  return [
    'liftoff',
    'wasm-lazy-compilation',
    'wasm-dynamic-tiering',
    ...(version >= 13 ? ['wasm-inlining'] : []),
    ...(version >= 14 ? ['wasm-inlining-call-indirect'] : []),
  ]
}

const set = (prefix) => flags().forEach((flag) => v8.setFlagsFromString(`--${prefix}${flag}`))

/** The number that V8 has of its flags is in the code. */
async function withFlags(action) {
  const before = host.tag()
  // A compile does not keep every Node alive.
  const alive = setInterval(() => {}, 1 << 30)
  set('no-')
  try {
    return await action()
  } finally {
    set('')
    clearInterval(alive)
    if (host.tag() !== before) fail("V8's flags cannot be set back")
  }
}

function fail(problem) {
  process.stdout.write(JSON.stringify({ problem }))
  process.exit(1)
}

async function compile(shim, wasm, code) {
  const bytes = fs.readFileSync(wasm)
  const [sample, module] = await withFlags(() => Promise.all([SAMPLE, bytes].map((all) => WebAssembly.compile(all))))
  const compiled = [sample, module].map((one) => shim.serialize(one))
  if (!isRight(sample) || compiled.includes(undefined)) fail('V8 gives no code')
  ;[sampleOf(code), code].forEach((file, index) => fs.writeFileSync(file, new Uint8Array(compiled[index]), { mode: 0o600 }))
}

const sampleOf = (code) => `${code}.sample`

/** How long it takes, in ms. */
function take(shim, wasm, code) {
  const { HAS_FUNCTION, give, isNodes } = require('../code/revive.js')
  if (!HAS_FUNCTION && !isNodes()) fail("another addon has Node's place")
  const sample = give(shim, SAMPLE, fs.readFileSync(sampleOf(code)), '', WebAssembly)
  if (sample === undefined || !isRight(sample)) fail('V8 does not take what it gave')
  const [bytes, given] = [wasm, code].map((file) => fs.readFileSync(file))
  const { byteLength } = given
  const since = performance.now()
  const module = give(shim, bytes, given, '', WebAssembly)
  const ms = performance.now() - since
  if (module === undefined || shim.serialize(module)?.byteLength !== byteLength) fail('V8 does not take what it gave')
  return ms
}

async function main([what, wasm, code, judge, ...given]) {
  if (!native.endWith(Number(judge))) return
  // From now on it may be stopped.
  process.stdout.write('\n')
  // Node's own are nothing to V8, which says so on a stderr that nobody reads.
  for (const flag of given) v8.setFlagsFromString(flag)
  const shim = host.load()
  if (shim === undefined) fail('there is no shim for this Node')
  const ms = what === 'compile' ? await compile(shim, wasm, code) : take(shim, wasm, code)
  process.stdout.write(JSON.stringify({ tag: host.tag(), ms }))
  process.exit(0)
}

main(process.argv.slice(2)).catch(({ message }) => fail(message))
