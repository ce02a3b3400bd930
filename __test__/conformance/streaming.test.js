'use strict'
// WebAssembly.compileStreaming and instantiateStreaming, with Response objects, as the Web API has them.
// https://webassembly.github.io/spec/web-api/#streaming-modules

const { check, throws } = require('../support/conformance.js')

const TYPE = throws('TypeError')
const COMPILE = throws('CompileError')
const EMPTY = new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0])

const respond = (type = 'application/wasm', body = EMPTY, init = {}) =>
  new Response(body, { ...init, headers: type === null ? {} : { 'content-type': type } })

check(
  'compileStreaming(source) [#dom-webassembly-compilestreaming]: a Response, its promise, a thenable',
  async (W, { allAsync }) =>
    allAsync({
      response: () => W.compileStreaming(respond()),
      promise: () => W.compileStreaming(Promise.resolve(respond())),
      thenable: () => W.compileStreaming({ then: (resolve) => resolve(respond()) }),
      nested: () => W.compileStreaming(Promise.resolve({ then: (resolve) => resolve(Promise.resolve(respond())) })),
    })
)

check(
  'compileStreaming: a promise, whatever the argument; rejection, never an exception',
  async (W, { allAsync }) =>
    allAsync(
      Object.fromEntries(
        [undefined, null, 1, 'x', {}, [], () => {}, Symbol('s')].map((value, index) => [
          `case ${index}`,
          () => {
            const promise = W.compileStreaming(value)
            return promise instanceof Promise ? promise : 'no promise'
          },
        ])
      )
    ),
  Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`case ${index}`, TYPE])),
  { messages: false }
)

check(
  'compile a potential WebAssembly response [#compile-a-potential-webassembly-response] 3: rejection of source',
  async (W, { allAsync }) => {
    const reason = new EvalError('mine')
    return allAsync({
      compile: () => W.compileStreaming(Promise.reject(reason)),
      instantiate: () => W.instantiateStreaming(Promise.reject(reason)),
      thenable: () => W.compileStreaming({ then: (_, reject) => reject(reason) }),
      thenThrows: () =>
        W.compileStreaming({
          get then() {
            throw reason
          },
        }),
      value: () => W.compileStreaming(Promise.reject(undefined)),
    })
  }
)

check('2.2-2.5: the MIME type', async (W, { allAsync }) =>
  allAsync(
    Object.fromEntries(
      [
        'application/wasm',
        ' application/wasm ',
        '\tapplication/wasm\t',
        'application/wasm;',
        'application/wasm; charset=utf-8',
        'application/wasm ;x=y',
        'application/wasm, application/wasm',
        'text/html',
        'application/octet-stream',
        'application/wasmx',
        'application/ wasm',
        '',
        null,
      ].map((type) => [`${type}`, () => W.compileStreaming(respond(type))])
    )
  )
)

// Node compares the letters as they are.
check(
  '2.5: the MIME type is byte-case-insensitive',
  async (W, { allAsync }) => {
    const types = ['APPLICATION/WASM', 'Application/Wasm']
    return allAsync(
      Object.fromEntries(types.map((type) => [type, async () => (await W.compileStreaming(respond(type))) instanceof W.Module]))
    )
  },
  { 'APPLICATION/WASM': true, 'Application/Wasm': true },
  { deviates: true }
)

check('2.2: no body, no headers', async (W, { allAsync }) =>
  allAsync({
    none: () => W.compileStreaming(new Response()),
    null: () => W.compileStreaming(respond('application/wasm', null)),
    empty: () => W.compileStreaming(respond('application/wasm', '')),
    error: () => W.compileStreaming(Response.error()),
    two: () => {
      const response = respond()
      response.headers.append('content-type', 'application/wasm')
      return W.compileStreaming(response)
    },
  })
)

check('2.7: the status', async (W, { allAsync }) =>
  allAsync(
    Object.fromEntries(
      [200, 201, 203, 206, 226, 299, 300, 301, 304, 400, 404, 500, 599].map((status) => [
        status,
        () => W.compileStreaming(respond('application/wasm', status === 304 ? null : EMPTY, { status })),
      ])
    )
  )
)

check('2.8: consuming the body: locked, disturbed, read', async (W, { allAsync }) =>
  allAsync({
    locked: () => {
      const response = respond()
      response.body.getReader()
      return W.compileStreaming(response)
    },
    read: async () => {
      const response = respond()
      await response.arrayBuffer()
      return W.compileStreaming(response)
    },
    released: async () => {
      const response = respond()
      const reader = response.body.getReader()
      await reader.read()
      reader.releaseLock()
      return W.compileStreaming(response)
    },
    cancelled: async () => {
      const response = respond()
      await response.body.cancel()
      return W.compileStreaming(response)
    },
    twice: async () => {
      const response = respond()
      await W.compileStreaming(response)
      return W.compileStreaming(response)
    },
    atOnce: async () => {
      const response = respond()
      const [a, b] = await Promise.allSettled([W.compileStreaming(response), W.compileStreaming(response)])
      return [a.status, b.status]
    },
  })
)

check('2.8: the body is used up, and no lock remains', async (W) => {
  const response = respond()
  const before = response.bodyUsed
  const promise = W.compileStreaming(response)
  const during = response.bodyUsed
  await promise
  return [before, during, response.bodyUsed, response.body.locked]
})

check(
  '2.8: what fails a check before leaves the body alone',
  async (W, { allAsync }) => {
    const untouched = async (response) => {
      try {
        await W.compileStreaming(response)
      } catch {
        return [response.bodyUsed, response.body?.locked, (await response.arrayBuffer()).byteLength]
      }
    }
    return allAsync({
      type: () => untouched(respond('text/html')),
      status: () => untouched(respond('application/wasm', EMPTY, { status: 404 })),
    })
  },
  { type: [false, false, 8], status: [false, false, 8] }
)

check('2.8.1: the response is looked at after a microtask, so it can be cloned in the same turn', async (W) => {
  const response = respond()
  const promise = W.compileStreaming(response)
  const clone = response.clone()
  return [await promise, (await clone.arrayBuffer()).byteLength]
})

check('2.10: rejection of the body', async (W, { allAsync }) => {
  const body = (chunks, error) =>
    new ReadableStream({
      pull(controller) {
        if (chunks.length > 0) controller.enqueue(chunks.shift())
        else if (error !== undefined) controller.error(error)
        else controller.close()
      },
    })
  return allAsync({
    error: () => W.compileStreaming(respond('application/wasm', body([EMPTY], new EvalError('mine')))),
    errorFirst: () => W.compileStreaming(respond('application/wasm', body([], new EvalError('mine')))),
    text: () => W.compileStreaming(respond('application/wasm', body(['text']))),
    number: () => W.compileStreaming(respond('application/wasm', body([1]))),
    pieces: () => W.compileStreaming(respond('application/wasm', body([EMPTY.slice(0, 3), new Uint8Array(), EMPTY.slice(3)]))),
    cut: () => W.compileStreaming(respond('application/wasm', body([EMPTY.slice(0, 7)]))),
    dataView: () => W.compileStreaming(respond('application/wasm', body([new DataView(EMPTY.slice().buffer)]))),
    buffer: () => W.compileStreaming(respond('application/wasm', body([EMPTY.slice().buffer]))),
    sharedChunk: () => {
      const view = new Uint8Array(new SharedArrayBuffer(8))
      view.set(EMPTY)
      return W.compileStreaming(respond('application/wasm', body([view])))
    },
  })
})

check(
  'compile errors: CompileError',
  async (W, { allAsync }) =>
    allAsync({
      empty: () => W.compileStreaming(respond('application/wasm', new Uint8Array())),
      magic: () => W.compileStreaming(respond('application/wasm', '<!doctype html>')),
      short: () => W.compileStreaming(respond('application/wasm', EMPTY.slice(0, 6))),
      version: () => W.compileStreaming(respond('application/wasm', new Uint8Array([0, 0x61, 0x73, 0x6d, 2, 0, 0, 0]))),
      instantiate: () => W.instantiateStreaming(respond('application/wasm', '<!doctype html>')),
    }),
  { empty: COMPILE, magic: COMPILE, short: COMPILE, version: COMPILE, instantiate: COMPILE }
)

check(
  '2.9: bytes that change after they were handed over',
  async (W, { assemble }) => {
    const bytes = assemble('(func (export "f"))')
    const response = respond('application/wasm', bytes)
    bytes.fill(0)
    return W.Module.exports(await W.compileStreaming(response))
  },
  [{ name: 'f', kind: 'function' }]
)

// instantiateStreaming

check(
  'instantiateStreaming(source, importObject) [#dom-webassembly-instantiatestreaming]: {module, instance}',
  async (W, { assemble }) => {
    const result = await W.instantiateStreaming(
      respond('application/wasm', assemble('(import "i" "g" (global i32)) (export "g" (global 0))')),
      { i: { g: 7 } }
    )
    return [result, Reflect.ownKeys(result), result.instance.exports.g.value]
  }
)

check('instantiateStreaming: importObject is undefined or an object; checked first', async (W, { allAsync }) =>
  allAsync(
    Object.fromEntries(
      [undefined, null, 1, 'x', true, Symbol('s'), {}, [], () => {}].map((value, index) => [
        `case ${index}`,
        async () => {
          const response = respond()
          try {
            return (await W.instantiateStreaming(response, value)).instance
          } catch (error) {
            return [error, response.bodyUsed]
          }
        },
      ])
    )
  )
)

check(
  'instantiateStreaming: the imports are read when the module is compiled',
  async (W, { assemble }) => {
    const order = []
    const promise = W.instantiateStreaming(respond('application/wasm', assemble('(import "i" "f" (func $f)) (start $f)')), {
      get i() {
        order.push('read')
        return { f: () => order.push('start') }
      },
    })
    order.push('returned')
    await promise
    order.push('resolved')
    return order
  },
  ['returned', 'read', 'start', 'resolved']
)

check(
  'instantiateStreaming: errors of linking and of the start function',
  async (W, { allAsync, assemble }) => {
    const stream = (wat, imports) => W.instantiateStreaming(respond('application/wasm', assemble(wat)), imports)
    return allAsync({
      noImports: () => stream('(import "a" "b" (func))'),
      noModule: () => stream('(import "a" "b" (func))', {}),
      noFunction: () => stream('(import "a" "b" (func))', { a: {} }),
      getter: () =>
        stream('(import "a" "b" (func))', {
          get a() {
            throw new EvalError('mine')
          },
        }),
      trap: () => stream('(func $s unreachable) (start $s)'),
      thrown: () =>
        stream('(import "a" "b" (func $s)) (start $s)', {
          a: {
            b() {
              throw new EvalError('mine')
            },
          },
        }),
    })
  },
  {
    noImports: TYPE,
    noModule: TYPE,
    noFunction: throws('LinkError'),
    getter: throws('EvalError'),
    trap: throws('RuntimeError'),
    thrown: throws('EvalError'),
  }
)

// Node unwraps what V8 has unwrapped.
check(
  'Promise<Response> (Web IDL): `then` of a Response is asked for once',
  async (W) => {
    const response = respond()
    let asked = 0
    Object.defineProperty(response, 'then', { get: () => void asked++ })
    await W.compileStreaming(response)
    return asked
  },
  1,
  { deviates: true }
)
