'use strict'

const { getEventListeners, once } = require('node:events')
const { PassThrough, Readable } = require('node:stream')

const test = require('ava')

const { compileStreaming, instantiateStreaming, LinkError, Module } = require('../index.js')
const sources = require('../dist/engine.js').load('compile/sources.js')
const { makeStreaming } = require('../dist/engine.js').load('compile/streaming.js')
const {
  answer,
  builtin,
  get,
  importing,
  invalidPrefix,
  outcome,
  response,
  serveUnended,
  split,
  webStream,
} = require('./fixtures/streaming.js')

async function isAnswer(t, source) {
  const { instance } = await instantiateStreaming(source)
  t.is(instance.exports.answer(), 123456)
}

// Chunks

test('chunks of one byte', async (t) => {
  await isAnswer(t, webStream([...answer].map((byte) => Uint8Array.of(byte))).stream)
})

test('a boundary at every place, LEB128s included', async (t) => {
  for (let at = 0; at <= answer.length; at++) {
    const module = await compileStreaming(webStream(split(answer, at)).stream)
    t.deepEqual(Module.exports(module), [{ name: 'answer', kind: 'function' }], `cut at ${at}`)
  }
})

test('empty chunks', async (t) => {
  const nothing = new Uint8Array(0)
  await isAnswer(t, webStream([nothing, ...split(answer, 8, 50).flatMap((part) => [part, nothing, nothing])]).stream)
})

test('a stream that ends in the middle of a module, wherever', async (t) => {
  for (const end of [1, 6, 8, 9, 12, 40, 60, 150]) {
    const cut = answer.slice(0, end)
    const ours = await outcome(compileStreaming(response(cut)))
    const theirs = await outcome(builtin.compileStreaming(response(cut)))
    t.is(ours.error?.name, theirs.error?.name, `cut at ${end}`)
  }
})

// Errors of the module

test('a wrong magic word rejects at once, and the server sees the socket close', async (t) => {
  for (const request of [fetch, get]) {
    const { url, closed } = await serveUnended(t, '<!doctype html>')
    await t.throwsAsync(compileStreaming(request(url)), {
      instanceOf: builtin.CompileError,
      message: 'WebAssembly.compileStreaming(): expected magic word 00 61 73 6d, found 3c 21 64 6f @+0',
    })
    await closed
  }
})

test('an invalid function rejects at once, and the server sees the socket close', async (t) => {
  for (const request of [fetch, get]) {
    const { url, closed } = await serveUnended(t, invalidPrefix)
    const error = await t.throwsAsync(instantiateStreaming(request(url)), { instanceOf: builtin.CompileError })
    t.true(error.message.startsWith('WebAssembly.instantiateStreaming(): '), error.message)
    t.true(error.stack.includes(error.message))
    await closed
  }
})

test('a failed compile cancels a source of any kind', async (t) => {
  const bad = Buffer.from('<!doctype html>')

  const { stream, cancelled } = webStream([bad], { open: true })
  const { error } = await outcome(compileStreaming(stream))
  t.is(await cancelled, error, 'a web stream is told the reason')

  const duplex = new PassThrough()
  duplex.write(bad)
  await t.throwsAsync(compileStreaming(duplex))
  t.true(duplex.destroyed)

  let resolve
  const returned = new Promise((fulfil) => {
    resolve = fulfil
  })
  async function* generator() {
    try {
      for (;;) {
        yield bad
        await null
      }
    } finally {
      resolve()
    }
  }
  await t.throwsAsync(compileStreaming(generator()))
  await returned
})

test('a chunk of a wrong type cancels the source', async (t) => {
  const { stream, cancelled } = webStream([answer.slice(0, 9), 'text'], { open: true })
  const { error } = await outcome(compileStreaming(stream))
  t.true(error instanceof TypeError)
  t.is(await cancelled, error)
})

// The caller's signal

test('aborted before: rejects with the reason, and the source is cancelled unread', async (t) => {
  const reason = new Error('changed my mind')
  const signal = AbortSignal.abort(reason)
  const { stream, cancelled } = webStream([answer], { open: true })
  t.is((await outcome(compileStreaming(response(stream), { signal }))).error, reason)
  t.is(await cancelled, reason)

  const readable = new Readable({ read() {} })
  t.is((await outcome(instantiateStreaming(readable, {}, { signal }))).error, reason)
  await once(readable, 'close')

  const { url, closed } = await serveUnended(t, answer)
  t.is((await outcome(compileStreaming(get(url), { signal }))).error, reason)
  await closed

  t.is((await outcome(compileStreaming(Promise.reject(new Error('unseen')), { signal }))).error, reason)
  t.is((await outcome(compileStreaming('no source', { signal }))).error, reason)
  t.is((await outcome(compileStreaming(answer, { signal: AbortSignal.abort() }))).error.name, 'AbortError')
})

test('aborted while the response is awaited: rejects at once, and the late response is cancelled', async (t) => {
  const controller = new AbortController()
  let resolve
  const late = new Promise((fulfil) => {
    resolve = fulfil
  })
  const promise = compileStreaming(late, { signal: controller.signal })
  const reason = { any: 'value' }
  controller.abort(reason)
  t.is((await outcome(promise)).error, reason)
  const { stream, cancelled } = webStream([answer], { open: true })
  resolve(response(stream))
  t.is(await cancelled, reason)
})

test('aborted during: rejects with the reason, and the server sees the socket close', async (t) => {
  for (const request of [fetch, get]) {
    const { url, closed } = await serveUnended(t, answer.subarray(0, 100))
    const controller = new AbortController()
    const source = await request(url)
    const promise = outcome(instantiateStreaming(source, undefined, { signal: controller.signal }))
    // One turn, so that reading has begun.
    await new Promise(setImmediate)
    controller.abort()
    const { error } = await promise
    t.is(error, controller.signal.reason)
    t.is(error.name, 'AbortError')
    await closed
  }
})

test('a signal that aborts later does nothing, and nothing keeps listening to it', async (t) => {
  const controller = new AbortController()
  const { signal } = controller
  const module = await compileStreaming(response(), { signal })
  t.is(getEventListeners(signal, 'abort').length, 0)
  await t.throwsAsync(compileStreaming(response('no module'), { signal }))
  t.is(getEventListeners(signal, 'abort').length, 0)
  controller.abort()
  t.true(module instanceof Module)
})

// instantiateStreaming

test('instantiateStreaming gives the module and the instance, and links the imports', async (t) => {
  const heard = []
  const result = await instantiateStreaming(response(importing), { host: { hear: (value) => heard.push(value) } })
  t.deepEqual(Object.keys(result), ['module', 'instance'])
  t.true(result.module instanceof Module)
  result.instance.exports.tell()
  t.deepEqual(heard, [7])
})

test('imports that are no object are refused before the source is touched, as the built-in does', async (t) => {
  for (const imports of [null, 1, 'x', true, Symbol('s')]) {
    const source = response(importing)
    const ours = (await outcome(instantiateStreaming(source, imports))).error
    const theirs = (await outcome(builtin.instantiateStreaming(response(importing), imports))).error
    t.is(ours.message, theirs.message)
    t.true(ours instanceof TypeError)
    t.false(source.bodyUsed)
  }
})

test('imports that do not fit reject in the words of the built-in', async (t) => {
  for (const imports of [undefined, {}, { host: {} }, { host: { hear: 1 } }]) {
    const ours = (await outcome(instantiateStreaming(response(importing), imports))).error
    const theirs = (await outcome(builtin.instantiateStreaming(response(importing), imports))).error
    t.is(ours.name, theirs.name)
    t.is(ours.message, theirs.message)
  }
  await t.throwsAsync(instantiateStreaming(response(importing), { host: {} }), { instanceOf: LinkError })
})

test('the two functions look like the built-in ones', (t) => {
  for (const [ours, theirs] of [
    [compileStreaming, builtin.compileStreaming],
    [instantiateStreaming, builtin.instantiateStreaming],
  ]) {
    t.is(ours.name, theirs.name)
    t.is(ours.length, theirs.length)
    t.throws(() => Reflect.construct(Object, [], ours), { instanceOf: TypeError })
  }
})

test('nothing is thrown synchronously', async (t) => {
  for (const call of [
    () => compileStreaming(),
    () => compileStreaming(response(), { partion: 'x' }),
    () => instantiateStreaming(),
  ]) {
    const promise = call()
    t.true(promise instanceof Promise)
    await t.throwsAsync(promise, { instanceOf: TypeError })
  }
})

// Back-pressure, with a native side that is slow on purpose

test('an opened source is read only when it is asked, and ahead by no more than its own mark', async (t) => {
  let produced = 0
  const chunk = new Uint8Array(1024)
  const readable = new Readable({
    highWaterMark: 4096,
    read() {
      produced += this.push(chunk) ? 1 : 0
    },
  })
  const input = sources.open(readable)
  await input.next()
  await new Promise(setImmediate)
  const ahead = produced
  t.true(ahead <= 8, `${ahead} chunks`)
  await new Promise(setImmediate)
  t.is(produced, ahead)
  input.cancel()

  let pulled = 0
  const stream = new ReadableStream({ pull: (controller) => controller.enqueue(chunk, pulled++) }, { highWaterMark: 2 })
  const web = sources.open(response(stream))
  await web.next()
  await new Promise(setImmediate)
  t.true(pulled <= 3, `${pulled} chunks`)
  web.cancel()
})

/** A native side that takes nothing until it is told to. */
function slowNative() {
  const calls = []
  let queued = 0
  let drained = null
  let settle
  const binding = {
    compileBegin: (options, done) => {
      settle = done
      return {}
    },
    compilePush: (job, bytes) => {
      queued += bytes.byteLength
      return queued
    },
    compileDrained: (job, callback) => {
      calls.push('drained?')
      drained = callback
    },
    compileEnd: () => {
      calls.push('end')
      settle(null, 'handle')
    },
    compileAbort: () => calls.push('abort'),
  }
  return {
    binding,
    calls,
    get queued() {
      return queued
    },
    get waits() {
      return drained !== null
    },
    drain() {
      queued = 0
      const callback = drained
      drained = null
      callback()
    },
    fail: (error) => settle(error, null),
  }
}

function streamingOver(native) {
  return makeStreaming({
    moduleOf: (compiled) => compiled,
    instantiateModule: () => ({}),
    readOptions: (options) => ({ native: { source: '' }, engine: 'ours', signal: options?.signal }),
    native: native.binding,
    events: { emit() {}, drain() {} },
  })
}

const MiB = 1024 * 1024

async function until(condition) {
  while (!condition()) await new Promise(setImmediate)
}

test('reading stops while more than 4 MiB wait in the compiler, and goes on when they are taken', async (t) => {
  const native = slowNative()
  let produced = 0
  async function* source() {
    for (; produced < 12; produced++) yield new Uint8Array(MiB)
  }
  const promise = streamingOver(native).compileStreaming(source())
  for (let round = 0; round < 2; round++) {
    await until(() => native.waits)
    t.is(native.queued, 5 * MiB)
    const before = produced
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
    t.is(produced, before, 'nothing is read while the compiler is full')
    native.drain()
  }
  t.deepEqual(await promise, { handle: 'handle' })
  t.is(produced, 12)
  t.deepEqual(native.calls, ['drained?', 'drained?', 'end'])
})

test('an abort while waiting for the compiler stops it and cancels the source', async (t) => {
  const native = slowNative()
  const controller = new AbortController()
  const { stream, cancelled } = webStream([new Uint8Array(5 * MiB)], { open: true })
  const promise = outcome(streamingOver(native).compileStreaming(stream, { signal: controller.signal }))
  await until(() => native.waits)
  controller.abort('enough')
  t.is((await promise).error, 'enough')
  t.is(await cancelled, 'enough')
  t.deepEqual(native.calls, ['drained?', 'abort'])
  native.drain()
  await new Promise(setImmediate)
  t.deepEqual(native.calls, ['drained?', 'abort'], 'the job is not touched again')
})

test('a compile error while waiting for the compiler cancels the source and aborts nothing', async (t) => {
  const native = slowNative()
  const { stream, cancelled } = webStream([new Uint8Array(5 * MiB)], { open: true })
  const promise = outcome(streamingOver(native).compileStreaming(stream))
  await until(() => native.waits)
  native.fail(new builtin.CompileError('invalid value type 0x0 @+9'))
  const { error } = await promise
  t.is(error.message, 'WebAssembly.compileStreaming(): invalid value type 0x0 @+9')
  t.is(await cancelled, error)
  t.deepEqual(native.calls, ['drained?'])
})

test('an error of the source stops the compiling', async (t) => {
  const native = slowNative()
  const mine = new Error('mine')
  async function* source() {
    yield new Uint8Array(8)
    throw mine
  }
  t.is((await outcome(streamingOver(native).compileStreaming(source()))).error, mine)
  t.deepEqual(native.calls, ['abort'])
})
