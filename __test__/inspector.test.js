'use strict'
// What tools see that listen to V8: names in profiles, and the scripts of the built-in engine's modules that are ours; and, of
// a module that the built-in has under `engine: 'auto'`, what they see without this package.

const { createHash } = require('node:crypto')
const inspector = require('node:inspector')
const fs = require('node:fs')
const path = require('node:path')
const { pathToFileURL } = require('node:url')
const test = require('ava')
const initWabt = require('wabt')
const { assemble } = require('./children/modules.js')
const { auto, warm } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { padded } = require('./support/wat.js')

const FILE = path.join(__dirname, '../dist/engine.js')

/** Every way in which an exported function is made: by arity, for numbers, for any signature. */
const SIGNATURES = [
  [],
  ['i32'],
  ['i32', 'i32'],
  ['i32', 'i32', 'i32'],
  ['i32', 'i32', 'i32', 'i32'],
  ['f64'],
  ['i64'],
  ['externref'],
]
const RESULTS = ['', 'i32']

/** The URLs of the scripts that V8 has for modules of WebAssembly. */
function scripts({ session, post }) {
  const urls = []
  const listener = ({ params: { url, scriptLanguage } }) => {
    if (scriptLanguage === 'WebAssembly') urls.push(url)
  }
  session.on('Debugger.scriptParsed', listener)
  post('Debugger.enable')
  post('Debugger.disable')
  session.off('Debugger.scriptParsed', listener)
  return urls
}

let W
let module_
let assemblers
test.before(async () => {
  const { parseWat } = await initWabt()
  const functions = SIGNATURES.flatMap((params, number) =>
    RESULTS.map(
      (result) =>
        `(func (export "f${number}${result}") (param ${params.join(' ')}) ${result && `(result ${result}) (i32.const 7)`})`
    )
  )
  const bytes = parseWat('test.wat', `(module $demo ${functions.join('\n')})`).toBinary({}).buffer
  const opening = open()
  assemblers = scripts(opening)
  opening.session.disconnect()
  W = require('../index.js')
  module_ = new W.Module(bytes)
})

function open() {
  const session = new inspector.Session()
  session.connect()
  const post = (method, params) => {
    let answer
    session.post(method, params, (error, result) => {
      if (error) throw error
      answer = result
    })
    return answer
  }
  return { session, post }
}

function opened(t) {
  const opening = open()
  t.teardown(() => opening.session.disconnect())
  return opening
}

// A profile has the names that the coverage has, and this one counts calls.
test.serial('time in WebAssembly is booked under a name', (t) => {
  const { post } = opened(t)
  post('Profiler.enable')
  post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
  const { exports } = new W.Instance(module_)
  const given = { i64: 1n, externref: {} }
  const functions = SIGNATURES.flatMap((params, number) => RESULTS.map((result) => [exports[`f${number}${result}`], params]))
  for (const [fn, params] of functions) fn(...params.map((type) => given[type] ?? 1))
  const { result } = post('Profiler.takePreciseCoverage')
  post('Profiler.stopPreciseCoverage')
  const script = result.find(({ url }) => url.endsWith(FILE))
  const called = script.functions.filter(({ functionName, ranges: [{ count }] }) => count > 0 && functionName === 'wasmFunction')
  t.is(
    called.reduce((sum, { ranges: [{ count }] }) => sum + count, 0),
    functions.length
  )
  const text = fs.readFileSync(FILE, 'utf8')
  const from = text.indexOf("\n'api/function.js': ")
  const to = text.indexOf('\n}),\n', from)
  t.true(from !== -1)
  const inside = ({ startOffset }) => startOffset > from && startOffset < to
  t.deepEqual(
    script.functions.filter(
      ({ functionName, ranges: [range] }) => functionName === '' && inside(range) && range.count >= functions.length
    ),
    []
  )
})

test.serial('modules of the built-in engine that this package makes say whose they are', (t) => {
  const { exports } = new W.Instance(module_)
  const table = new W.Table({ element: 'anyfunc', initial: 1 }, exports.f0)
  t.is(table.get(0), exports.f0)
  const urls = scripts(opened(t)).filter((url) => !assemblers.includes(url))
  t.true(urls.length > 0)
  for (const url of urls) t.true(url.startsWith('wasm://wasm/wasm-compile-cache-'), url)
})

/** The file of a module that is large enough to be looked at, and has names. */
async function primes(t) {
  const bytes = await assemble(
    `(module $primes
      (func $countDivisors (param $n i32) (result i32) (local $by i32) (local $count i32)
        (local.set $by (i32.const 1))
        (loop $l
          (local.set $count (i32.add (local.get $count) (i32.eqz (i32.rem_u (local.get $n) (local.get $by)))))
          (br_if $l (i32.le_u (local.tee $by (i32.add (local.get $by) (i32.const 1))) (local.get $n))))
        (local.get $count))
      (func (export "run") (param i32) (result i32) (call $countDivisors (local.get 0))))`,
    { names: true }
  )
  const file = path.join(folder(t), 'primes.wasm')
  fs.writeFileSync(file, padded(bytes, 128 * 1024))
  return file
}

/**
 * A program that listens to itself: the scripts that the debugger has, their bytes, and where it can stop in them; and the URL
 * of the function `wanted` in a profile. A sampler may miss it, so the work is done until it is met.
 */
const LISTENING = `
  const { createHash } = require('node:crypto')
  const [file, wanted] = process.argv.slice(1)
  const session = new (require('node:inspector').Session)()
  session.connect()
  const post = (method, params) => {
    let answer
    session.post(method, params, (error, result) => (answer = error ?? result))
    return answer
  }
  const scripts = []
  session.on('Debugger.scriptParsed', ({ params }) => params.scriptLanguage === 'WebAssembly' && scripts.push(params))
  post('Debugger.enable')
  const module = new WebAssembly.Module(fs.readFileSync(file))
  const debugged = scripts.map(({ scriptId, url, codeOffset, debugSymbols, sourceMapURL, length }) => {
    const { bytecode } = post('Debugger.getScriptSource', { scriptId })
    const { locations } = post('Debugger.getPossibleBreakpoints', { start: { scriptId, lineNumber: 0, columnNumber: 0 } })
    const columns = locations.map(({ columnNumber }) => columnNumber)
    const set = post('Debugger.setBreakpointByUrl', { url, lineNumber: 0, columnNumber: columns[1] ?? 0 }).locations.length
    return { url, codeOffset, debugSymbols, sourceMapURL, length, sha256: createHash('sha256').update(bytecode, 'base64').digest('hex'), columns, set }
  })
  post('Debugger.disable')

  const { exports } = new WebAssembly.Instance(module)
  post('Profiler.enable')
  post('Profiler.setSamplingInterval', { interval: 200 })
  const profiled = {}
  while (profiled[wanted] === undefined) {
    post('Profiler.start')
    exports.run(5_000_000)
    for (const { callFrame } of post('Profiler.stop').profile.nodes) profiled[callFrame.functionName] = callFrame.url
  }
  tell({ tier: WebAssembly.Module.tier?.(module), divisors: exports.run(5040), debugged, url: profiled[wanted], names: Object.keys(profiled) })`

test("under `engine: 'auto'`, the built-in's modules are debugged and profiled as without this package", async (t) => {
  const file = await primes(t)
  const args = [file, 'countDivisors']
  const { told: plain } = await auto(LISTENING, { cache: folder(t), flags: [], args })
  const sha256 = createHash('sha256').update(fs.readFileSync(file)).digest('hex')
  t.like(plain, { divisors: 60, debugged: { 0: { url: plain.url, sha256, set: 1 }, length: 1 } })
  t.regex(plain.url, /^wasm:\/\/wasm\/primes-/)
  const { told } = await auto(LISTENING, { cache: folder(t), args, env: { WASM_COMPILE_CACHE_FINISH: '0' } })
  t.deepEqual({ ...told, names: [] }, { ...plain, tier: 'builtin', names: [] })
})

test("and this package's as docs/compatibility.md says", async (t) => {
  const file = await primes(t)
  const cache = folder(t)
  await warm(cache, file)
  const { told } = await auto(LISTENING, { cache, args: [file, 'wasmFunction'] })
  t.like(told, { tier: 'optimized', divisors: 60, url: pathToFileURL(FILE).href })
  t.false(told.names.includes('countDivisors'))
  for (const { url, columns, set } of told.debugged) {
    t.true(url.startsWith('wasm://wasm/wasm-compile-cache-'), url)
    t.deepEqual([columns, set], [[], 0])
  }
})
