'use strict'
// A body that stalls keeps nobody alive but by itself, as with the built-in engine; what is known of the module so far is
// told nevertheless.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const path = require('node:path')
const { pathToFileURL } = require('node:url')

const test = require('ava')

const { answer, invalidPrefix, split } = require('./fixtures/streaming.js')
const { assemble } = require('./support/engine.js')

const CHILD = pathToFileURL(path.join(__dirname, 'children/stalled.js')).href

const AWAIT_IT = 'await (await import(process.argv[1])).default'

// Of a process whose top-level await is never settled.
const UNSETTLED = 13

const base64 = (bytes) => (bytes === undefined ? undefined : Buffer.from(bytes).toString('base64'))

/** What the child said, and its exit code; null if it had to be ended. */
async function outcome(engine, { bytes, rest, fallback } = {}) {
  const argument = JSON.stringify({ engine, fallback, bytes: base64(bytes), rest: base64(rest) })
  const argv = ['--input-type=module', '--eval', AWAIT_IT, CHILD, argument]
  const child = spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'ignore'], timeout: 60_000 })
  let stdout = ''
  child.stdout.on('data', (text) => (stdout += text))
  const [code] = await once(child, 'close')
  return [...stdout.trimEnd().split('\n'), code]
}

const [head, tail] = split(answer, 150)

for (const engine of ['builtin', 'ours']) {
  test(`${engine}: a process whose body never ends, ends`, async (t) => {
    for (const bytes of [undefined, head, answer]) {
      t.deepEqual(await outcome(engine, { bytes }), ['nothing to do', UNSETTLED], `${bytes?.length} bytes`)
    }
  })
}

test('what comes after a stall, or its end, is compiled and awaited', async (t) => {
  for (const [bytes, rest] of [
    [head, tail],
    [undefined, answer],
    [answer, new Uint8Array(0)],
  ]) {
    t.deepEqual(await outcome('ours', { bytes, rest }), ['nothing to do', 'answer 123456', 0])
  }
})

test('an error before the stall is told', async (t) => {
  for (const bytes of [Buffer.from('<!doctype html>'), invalidPrefix]) {
    t.deepEqual(await outcome('ours', { bytes }), ['CompileError', 'nothing to do', 0])
  }
})

test('the same of a body that the built-in engine will have to compile', async (t) => {
  const refused = assemble('(func $seven (result i32) (i32.const 7)) (func (export "answer") (result i32) (return_call $seven))')
  const [bytes, rest] = split(refused, refused.length - 1)
  t.deepEqual(await outcome('ours', { bytes, fallback: 'builtin' }), ['nothing to do', UNSETTLED])
  t.deepEqual(await outcome('ours', { bytes, rest, fallback: 'builtin' }), ['nothing to do', 'answer 7', 0])
})
