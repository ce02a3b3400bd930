'use strict'

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { PassThrough, Readable, Stream } = require('node:stream')
const { pathToFileURL } = require('node:url')
const vm = require('node:vm')

const test = require('ava')
const undici = require('undici')

const { compileStreaming, instantiateStreaming, Module } = require('../index.js')
const { WASM, answer, builtin, get, outcome, response, serve, split, webStream } = require('./fixtures/streaming.js')
const { remove } = require('./support/remove.js')

const withBody = (body) => response(body)
const streamOf = (...chunks) => webStream(chunks).stream

async function used(make) {
  const value = make()
  await value.arrayBuffer()
  return value
}

function locked() {
  const value = response()
  value.body.getReader()
  return value
}

async function cancelled() {
  const value = response()
  await value.body.cancel()
  return value
}

// Each is made twice: one for this package, one for the built-in.

const sameAsBuiltin = {
  'no MIME type': () => new Response(answer),
  'a MIME type with a parameter': () => response(answer, { 'content-type': 'application/wasm;charset=utf-8' }),
  'a MIME type with an empty parameter': () => response(answer, { 'content-type': 'application/wasm;' }),
  'two MIME types': () => response(answer, { 'content-type': 'application/wasm, application/wasm' }),
  'a wrong MIME type': () => response(answer, { 'content-type': 'text/javascript' }),
  'a MIME type that only begins right': () => response(answer, { 'content-type': 'application/wasm2' }),
  'status 404': () => response(answer, WASM, { status: 404 }),
  'status 404 and a wrong MIME type (which is looked at first)': () =>
    response('not found', { 'content-type': 'text/html' }, { status: 404 }),
  'a network error': () => Response.error(),
  'a used body': () => used(() => response()),
  'a used body and a wrong MIME type (which is looked at first)': () =>
    used(() => response(answer, { 'content-type': 'text/html' })),
  'a locked body': () => locked(),
  'a cancelled body': () => cancelled(),
  'a null body': () => response(null),
  'a null body of status 204': () => response(null, WASM, { status: 204 }),
  'an empty body': () => response(''),
  'half a magic word': () => response(answer.slice(0, 2)),
  'nothing but the magic word': () => response(answer.slice(0, 4)),
  'a wrong magic word': () => response('<!doctype html>'),
  'a chunk that is a string': () => withBody(streamOf('\0asm')),
  'a chunk that is a number': () => withBody(streamOf(0)),
  'a chunk that is null': () => withBody(streamOf(null)),
  'a chunk that is an array': () => withBody(streamOf([0, 1])),
  'a chunk that is a SharedArrayBuffer': () => withBody(streamOf(new SharedArrayBuffer(8))),
  'a wrong chunk after good ones': () => withBody(streamOf(answer.slice(0, 20), 'x')),
  'a stream that fails at once': () => withBody(new ReadableStream({ start: (c) => c.error(new RangeError('mine')) })),
  'a promise that rejects': () => Promise.reject(new RangeError('no network')),
  'MIME type in blanks': () => response(answer, { 'content-type': '\t application/wasm \t' }),
  'chunks that are ArrayBuffers': () => withBody(streamOf(...split(answer, 9).map((part) => part.buffer))),
  'chunks that are DataViews': () => withBody(streamOf(...split(answer, 9).map((part) => new DataView(part.buffer)))),
  'a promise of a promise of a Response': async () => Promise.resolve(response()),
}

for (const [name, make] of Object.entries(sameAsBuiltin)) {
  test(`as the built-in: ${name}`, async (t) => {
    const ours = await outcome(compileStreaming(make()))
    const theirs = await outcome(builtin.compileStreaming(make()))
    if (theirs.value) {
      t.is(ours.error, undefined)
      t.true(ours.value instanceof Module)
      t.deepEqual(Module.exports(ours.value), builtin.Module.exports(theirs.value))
      return
    }
    t.truthy(ours.error, 'must reject')
    t.is(ours.error.message, theirs.error.message)
    t.is(ours.error.name, theirs.error.name)
    for (const kind of [TypeError, RangeError, builtin.CompileError]) {
      t.is(ours.error instanceof kind, theirs.error instanceof kind)
    }
    if (theirs.error.code !== undefined) t.is(ours.error.code, theirs.error.code)
  })
}

for (const [name, value] of Object.entries({
  undefined,
  null: null,
  'a string': '/tmp/module.wasm',
  'a number': 42,
  'a symbol': Symbol('s'),
  'an empty object': {},
  'a function': function notABody() {},
  'an array': [0, 0x61],
  'a bare SharedArrayBuffer': new SharedArrayBuffer(8),
  'an ftp: URL object': new URL('ftp://127.0.0.1/'),
})) {
  test(`not a source: ${name}`, async (t) => {
    for (const [ours, theirs] of [
      [compileStreaming, builtin.compileStreaming],
      [instantiateStreaming, builtin.instantiateStreaming],
    ]) {
      const { error } = await outcome(ours(value))
      const expected = (await outcome(theirs(value))).error
      t.true(error instanceof TypeError)
      t.is(error.code, expected.code)
      // What is accepted differs; what came is described in the same words.
      const culprit = expected.message.slice(expected.message.indexOf('Received'))
      t.true(error.message.includes(culprit), error.message)
    }
  })
}

test('the MIME type is compared in any case (the built-in of Node is stricter than the specification)', async (t) => {
  for (const type of ['Application/WASM', 'APPLICATION/WASM', ' application/Wasm']) {
    t.true((await compileStreaming(response(answer, { 'content-type': type }))) instanceof Module)
  }
  // U+017F folds to s in Unicode, not in ASCII. Only a header map of our own can carry it.
  const folded = { headers: { 'content-type': 'application/wa\u017Fm' }, ok: true, body: null }
  const { error } = await outcome(compileStreaming(folded))
  t.is(error.code, 'ERR_WEBASSEMBLY_RESPONSE')
})

test('a response that fails a check is left unread, for the caller to use otherwise', async (t) => {
  const value = response(answer, { 'content-type': 'text/plain' })
  await t.throwsAsync(compileStreaming(value), { instanceOf: TypeError })
  t.false(value.bodyUsed)
  t.deepEqual(new Uint8Array(await value.arrayBuffer()), answer)
})

test('a response may still be cloned in the turn in which it was passed', async (t) => {
  const value = response()
  const promise = compileStreaming(value)
  const clone = value.clone()
  t.true((await promise) instanceof Module)
  t.deepEqual(new Uint8Array(await clone.arrayBuffer()), answer)
})

test('the error of a stream is passed on as it is', async (t) => {
  for (const mine of [new RangeError('mine'), 'a string', undefined]) {
    const parts = split(answer, 30)
    const stream = new ReadableStream({
      pull: (controller) => (parts.length > 1 ? controller.enqueue(parts.shift()) : controller.error(mine)),
    })
    t.is((await outcome(compileStreaming(response(stream)))).error, mine)
  }
  const mine = new RangeError('mine')
  const readable = new Readable({
    read() {
      this.destroy(mine)
    },
  })
  t.is((await outcome(compileStreaming(readable))).error, mine)
  const broken = new Readable({ read() {} })
  broken.on('error', () => {}).destroy(mine)
  t.is((await outcome(compileStreaming(broken))).error, mine)
  async function* generator() {
    yield answer.subarray(0, 10)
    throw mine
  }
  t.is((await outcome(compileStreaming(generator()))).error, mine)
})

// Every kind of source, each of them the same module.

async function isAnswer(t, source) {
  const { instance, module } = await instantiateStreaming(source)
  t.true(module instanceof Module)
  t.is(instance.exports.answer(), 123456)
}

const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-sources-')), 'a module.wasm')
fs.writeFileSync(file, answer)
test.after.always(() => remove(path.dirname(file)))

function shared() {
  const buffer = new SharedArrayBuffer(answer.length + 8)
  const view = new Uint8Array(buffer, 3, answer.length)
  view.set(answer)
  return view
}

function offset() {
  const buffer = new ArrayBuffer(answer.length + 8)
  new Uint8Array(buffer, 5).set(answer)
  return new DataView(buffer, 5, answer.length)
}

function oldStream() {
  const stream = new Stream()
  stream.readable = true
  stream.pause = stream.resume = () => {}
  setImmediate(() => {
    for (const part of split(answer, 11)) stream.emit('data', Buffer.from(part))
    stream.emit('end')
  })
  return stream
}

function fromOtherRealm() {
  const context = vm.createContext({ data: [...answer] })
  return vm.runInContext(
    `({
      ok: true,
      bodyUsed: false,
      headers: new Map([['Content-Type', 'application/wasm']]),
      body: (async function* () {
        const bytes = new Uint8Array(data)
        yield bytes.subarray(0, 50)
        yield bytes.slice(50).buffer
      })(),
    })`,
    context
  )
}

const kinds = {
  'a Response': () => response(),
  'a promise of a Response': async () => response(),
  'a ReadableStream': () => streamOf(...split(answer, 5, 6, 70)),
  'a ReadableStream of bytes': () =>
    new ReadableStream({
      type: 'bytes',
      start(controller) {
        controller.enqueue(answer.slice())
        controller.close()
      },
    }),
  'a ReadableStream from which the front was already read': async () => {
    const { stream } = webStream([new Uint8Array(4), answer])
    const reader = stream.getReader()
    await reader.read()
    reader.releaseLock()
    return stream
  },
  'a file stream': () => fs.createReadStream(file, { highWaterMark: 16 }),
  'a Readable of objects': () => Readable.from(split(answer, 5, 90)),
  'a Duplex': () => {
    const stream = new PassThrough()
    for (const part of split(answer, 40)) stream.write(part)
    stream.end()
    return stream
  },
  'a stream of the first kind, without an iterator': oldStream,
  'an async generator': async function* generator() {
    yield* split(answer, 1, 2, 3, 40)
  },
  'an async iterator of its own making': () => {
    const parts = split(answer, 33)
    return { [Symbol.asyncIterator]: () => ({ next: async () => ({ done: parts.length === 0, value: parts.shift() }) }) }
  },
  'a Blob': () => new Blob([answer]),
  'a Blob of a file': () => fs.openAsBlob(file),
  'a file: URL': () => pathToFileURL(file),
  'a promise of a file: URL': async () => pathToFileURL(file),
  'a Uint8Array': () => answer,
  'a Buffer': () => Buffer.from(answer),
  'an ArrayBuffer': () => answer.slice().buffer,
  'a DataView with an offset': offset,
  'a view on shared memory': shared,
  'a promise of bytes': async () => answer,
  'a Response-like with plain headers and a Node stream (node-fetch, undici.request)': () => ({
    statusCode: 200,
    headers: { 'Content-Type': 'application/wasm' },
    body: Readable.from(split(answer, 60)),
  }),
  'a Response-like with a Blob': () => ({ ok: true, headers: new Headers(WASM), body: new Blob([answer]) }),
  'a Response-like with bytes': () => ({ status: 200, headers: new Headers(WASM), body: answer }),
  'a Response-like without streams': () => ({
    ok: true,
    headers: { get: (name) => (name.toLowerCase() === 'content-type' ? 'application/wasm' : null) },
    arrayBuffer: async () => answer.slice().buffer,
  }),
  'a Response-like from another realm': fromOtherRealm,
}

for (const [name, make] of Object.entries(kinds)) {
  test(`a source: ${name}`, async (t) => isAnswer(t, make()))
}

test('a source: what fetch, undici and http get from a server', async (t) => {
  const url = await serve(t, (request, reply) => {
    reply.writeHead(200, { 'content-type': 'application/WASM' })
    for (const part of split(answer, 1, 17, 100)) reply.write(part)
    reply.end()
  })
  await isAnswer(t, fetch(url))
  await isAnswer(t, undici.fetch(url))
  await isAnswer(t, undici.request(url))
  await isAnswer(t, get(url))
})

test('a source: the body of a request that a server receives', async (t) => {
  let received
  const url = await serve(t, (request, reply) => {
    received = compileStreaming(request)
    received.then(
      () => reply.end(),
      (error) => reply.end(error.message)
    )
  })
  await (await fetch(url, { method: 'POST', body: answer, headers: WASM })).text()
  t.true((await received) instanceof Module)
  const reply = await fetch(url, { method: 'POST', body: answer, headers: { 'content-type': 'text/plain' } })
  t.is(await reply.text(), "WebAssembly response has unsupported MIME type 'text/plain'")
  await t.throwsAsync(received, { instanceOf: TypeError })
})

test('an IncomingMessage is held to the rules of a Response, in the same words', async (t) => {
  const replies = {
    '/none': [200, {}],
    '/type': [200, { 'content-type': 'text/html' }],
    '/parameter': [200, { 'content-type': 'application/wasm;charset=utf-8' }],
    '/two': [200, { 'content-type': ['application/wasm', 'application/wasm'] }],
    '/status': [503, WASM],
    '/both': [404, { 'content-type': 'text/html' }],
    '/empty': [200, WASM, ''],
    '/html': [200, WASM, '<!doctype html>'],
  }
  const url = await serve(t, (request, reply) => {
    const [status, headers, body = answer] = replies[request.url]
    reply.writeHead(status, headers).end(body)
  })
  for (const where of Object.keys(replies)) {
    const at = new URL(where, url)
    const ours = (await outcome(compileStreaming(get(at)))).error
    const theirs = (await outcome(builtin.compileStreaming(fetch(at)))).error
    t.is(ours.message, theirs.message, where)
    t.is(ours.name, theirs.name, where)
    if (theirs.code !== undefined) t.is(ours.code, theirs.code, where)
  }

  const message = await get(new URL('/status', url))
  await t.throwsAsync(compileStreaming(message))
  t.false(message.readableDidRead, 'a refused message is left unread')
  message.resume()
})

test('names with a lone surrogate: what only looks like a Response or a file is read all the same', async (t) => {
  const body = () => ({ ok: true, status: 200, headers: new Map([['content-type', 'application/wasm']]), body: answer })
  await isAnswer(t, { ...body(), url: 'https://example.org/\ud800' })
  await isAnswer(t, {
    ...body(),
    url: 'https://example.org/\ud800',
    type: 'basic',
    redirected: false,
    headers: new Headers({ ...WASM, etag: '"1"' }),
  })
  const stream = Readable.from([answer])
  await isAnswer(t, Object.assign(stream, { path: '/x\udc00' }))
})

test('a used stream is refused', async (t) => {
  const url = await serve(t, (request, reply) => reply.writeHead(200, WASM).end(answer))
  const message = await get(url)
  t.is(Buffer.compare(Buffer.concat(await message.toArray()), answer), 0)
  await t.throwsAsync(compileStreaming(message), {
    instanceOf: TypeError,
    code: 'ERR_WEBASSEMBLY_RESPONSE',
    message: 'WebAssembly response body has already been used',
  })
  const readable = Readable.from([answer])
  await readable.toArray()
  await t.throwsAsync(compileStreaming(readable), { instanceOf: TypeError, code: 'ERR_INVALID_STATE' })
  const { stream } = webStream([answer])
  stream.getReader()
  await t.throwsAsync(compileStreaming(stream), { instanceOf: TypeError, code: 'ERR_INVALID_STATE' })
})

test('a Readable that decodes to strings is refused', async (t) => {
  const readable = fs.createReadStream(file, 'latin1')
  await t.throwsAsync(compileStreaming(readable), {
    instanceOf: TypeError,
    message: 'chunk must be an ArrayBufferView or an ArrayBuffer',
  })
  t.true(readable.destroyed)
})

test('a file: URL: what the file system says is passed on', async (t) => {
  await t.throwsAsync(compileStreaming(pathToFileURL(`${file}.missing`)), { code: 'ENOENT' })
  await t.throwsAsync(compileStreaming(new URL('file://host/share/module.wasm')), { instanceOf: TypeError })
  const text = path.join(path.dirname(file), 'text.wasm')
  fs.writeFileSync(text, '<!doctype html>')
  await t.throwsAsync(compileStreaming(pathToFileURL(text)), {
    instanceOf: builtin.CompileError,
    message: 'WebAssembly.compileStreaming(): expected magic word 00 61 73 6d, found 3c 21 64 6f @+0',
  })
})

test('bytes are taken as they are when the call is made', async (t) => {
  const bytes = answer.slice()
  const promise = compileStreaming(bytes)
  bytes.fill(0xff)
  t.true((await promise) instanceof Module)
})

test('a response whose connection breaks rejects with the error of its stream', async (t) => {
  const url = await serve(t, (request, reply) => {
    reply.writeHead(200, { ...WASM, 'content-length': answer.length })
    reply.write(answer.subarray(0, 40), () => reply.socket.destroy())
  })
  const ours = (await outcome(compileStreaming(fetch(url)))).error
  const theirs = (await outcome(builtin.compileStreaming(fetch(url)))).error
  t.is(ours.name, theirs.name)
  t.is(ours.message, theirs.message)
  await t.throwsAsync(compileStreaming(get(url)), { code: 'ECONNRESET' })
})
