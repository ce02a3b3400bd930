'use strict'
// A module that is refused is not compiled before that is known, and what was compiled of it is given back at once.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const test = require('ava')
const native = require('../binding.js')
const { leb128 } = require('../dist/engine.js').load('api/binary.js')
const { until } = require('./support/processes.js')
const W = require('../index.js')

// All is compiled before the promise resolves, and nothing later.
const OPTIONS = { fallback: 'builtin', cache: false, optimize: false, baseline: 'eager' }

const section = (id, ...content) => {
  const bytes = Buffer.concat(content.map((one) => Buffer.from(one)))
  return Buffer.concat([Buffer.of(id), Buffer.from(leb128(bytes.length)), bytes])
}

/** (func (param i32) (result i32) ...), two kilobytes of it. */
const ORDINARY = Buffer.from([0, ...new Array(300).fill([0x20, 0, 0x41, 7, 0x6c, 0x21, 0]).flat(), 0x20, 0, 0x0b])

/** A tail call, which only the built-in engine takes. */
const REFUSED = Buffer.of(0, 0x20, 0, 0x12, 0, 0x0b)

/** So many that they are compiled in pieces. */
const MANY = 600

/** A module of these bodies, which all have one type, with what follows them. The name makes it another one. */
function moduleOf(name, bodies, ...behind) {
  const count = leb128(bodies.length)
  return Buffer.concat([
    Buffer.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0),
    section(0, leb128(name.length), Buffer.from(name)),
    section(1, [1, 0x60, 1, 0x7f, 1, 0x7f]),
    section(
      3,
      count,
      bodies.map(() => 0)
    ),
    section(10, count, ...bodies.flatMap((body) => [leb128(body.length), body])),
    ...behind,
  ])
}

const many = () => new Array(MANY).fill(ORDINARY)

/** How many pieces of code `work` made. */
async function making(work) {
  const [, before] = native.piecesOfCode()
  const result = await work()
  return { result, made: native.piecesOfCode()[1] - before }
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-refused-'))
test.after.always(() => fs.rmSync(folder, { recursive: true, force: true }))

function compileFile(bytes) {
  const file = path.join(folder, 'module.wasm')
  fs.writeFileSync(file, bytes)
  return W.compileStreaming(pathToFileURL(file), OPTIONS)
}

const WAYS = {
  'new Module': (bytes) => new W.Module(bytes, OPTIONS),
  compile: (bytes) => W.compile(bytes, OPTIONS),
  'a file': compileFile,
}

for (const [way, compile] of Object.entries(WAYS)) {
  test.serial(`${way}: nothing is compiled of a module whose last function is refused`, async (t) => {
    const accepted = await making(() => compile(moduleOf(`${way}, accepted`, many())))
    t.is(W.Module.tier(accepted.result), 'baseline')
    t.true(accepted.made > 10, 'it is compiled in pieces')

    const refused = await making(() => compile(moduleOf(`${way}, refused`, [...many(), REFUSED])))
    t.is(W.Module.tier(refused.result), 'builtin')
    t.is(refused.made, 0)
  })

  test.serial(`${way}: nor of one that is invalid behind its functions`, async (t) => {
    // An active data segment, for which there is no memory.
    const data = section(11, [1, 0, 0x41, 0, 0x0b, 0])
    const bytes = moduleOf(`${way}, invalid`, many(), data)
    const { made } = await making(() => t.throwsAsync(async () => compile(bytes), { instanceOf: WebAssembly.CompileError }))
    t.is(made, 0)
  })
}

test.serial('the first of several invalid functions is the one to report', async (t) => {
  // i32.add on an empty stack.
  const invalid = Buffer.of(0, 0x6a, 0x0b)
  const bodies = many()
  bodies.splice(MANY - 20, 1, invalid)
  bodies.splice(20, 1, invalid)
  const bytes = moduleOf('twice', bodies)
  const first = bytes.indexOf(invalid) + 1
  for (let round = 0; round < 10; round++) {
    const { message } = t.throws(() => new W.Module(bytes, { ...OPTIONS, fallback: 'error' }))
    t.true(message.endsWith(` @+${first}`), message)
  }
})

test.serial('a stream that turns out to be refused gives back what was compiled of it, before it ends', async (t) => {
  // The trampolines of the signature are the process' own.
  new W.Module(moduleOf('one', [ORDINARY]), OPTIONS)
  const bytes = moduleOf('a stream', [...many(), REFUSED, ...many()])
  const at = bytes.indexOf(REFUSED)
  const [before] = native.piecesOfCode()
  const living = () => native.piecesOfCode()[0]
  let rest
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes.subarray(0, at))
      rest = (from, to) => controller.enqueue(bytes.subarray(from, to))
      rest.end = () => controller.close()
    },
  })
  const compiled = W.compileStreaming(new Response(body, { headers: { 'content-type': 'application/wasm' } }), OPTIONS)
  await until(() => living() > before, 'what has come is compiled')
  rest(at, at + 10_000)
  await until(() => living() <= before, 'it is given back')
  rest(at + 10_000)
  rest.end()
  t.is(W.Module.tier(await compiled), 'builtin')
  t.true(living() <= before)
})
