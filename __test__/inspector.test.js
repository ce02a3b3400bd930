'use strict'
// What tools see that listen to V8: names in profiles, and the scripts of the built-in engine's modules that are ours.

const inspector = require('node:inspector')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const initWabt = require('wabt')

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
