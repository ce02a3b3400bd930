'use strict'
// WebAssembly.CompileError, LinkError and RuntimeError.
// https://webassembly.github.io/spec/js-api/#error-objects, https://tc39.es/ecma262/#sec-nativeerror-object-structure

const vm = require('node:vm')

const { check, throws } = require('../support/conformance.js')

for (const name of ['CompileError', 'LinkError', 'RuntimeError']) {
  check(
    `${name} [#exceptiondef-${name.toLowerCase()}]: NativeError Object Structure`,
    (W) => {
      const NativeError = W[name]
      const prototype = Object.getOwnPropertyDescriptor(NativeError, 'prototype')
      return {
        name: NativeError.name,
        length: NativeError.length,
        parent: Object.getPrototypeOf(NativeError) === Error,
        prototype: [prototype.writable, prototype.enumerable, prototype.configurable],
        parentPrototype: Object.getPrototypeOf(NativeError.prototype) === Error.prototype,
        members: Reflect.ownKeys(NativeError.prototype),
        message: Object.getOwnPropertyDescriptor(NativeError.prototype, 'message'),
        prototypeName: Object.getOwnPropertyDescriptor(NativeError.prototype, 'name'),
        constructor: NativeError.prototype.constructor === NativeError,
        string: Object.prototype.toString.call(NativeError.prototype),
        toString: String(NativeError.prototype),
      }
    },
    {
      name,
      length: 1,
      parent: true,
      prototype: [false, false, false],
      parentPrototype: true,
      members: ['constructor', 'name', 'message'],
      message: { value: '', writable: true, enumerable: false, configurable: true },
      prototypeName: { value: name, writable: true, enumerable: false, configurable: true },
      constructor: true,
      string: '[object Object]',
      toString: name,
    }
  )

  check(`${name}(message, options): with new and without`, (W) => {
    const NativeError = W[name]
    const errors = [
      NativeError(),
      new NativeError(),
      NativeError('m'),
      new NativeError('m'),
      new NativeError(undefined),
      new NativeError(7),
      new NativeError('m', { cause: 0 }),
      new NativeError('m', { cause: undefined }),
      new NativeError('m', {}),
      new NativeError('m', 1),
    ]
    return errors.map((error) => [
      error instanceof NativeError,
      error instanceof Error,
      Object.getPrototypeOf(error) === NativeError.prototype,
      Object.hasOwn(error, 'message'),
      error.message,
      Object.hasOwn(error, 'cause'),
      error.cause,
      String(error),
      Object.prototype.toString.call(error),
    ])
  })

  check(
    `${name}: message and cause are converted and read in order`,
    (W, { all }) => {
      const log = []
      new W[name](
        {
          toString() {
            log.push('message')
            return 'm'
          },
        },
        new Proxy(
          { cause: 1 },
          {
            has(target, key) {
              log.push(`has ${String(key)}`)
              return Reflect.has(target, key)
            },
            get(target, key) {
              log.push(`get ${String(key)}`)
              return target[key]
            },
          }
        )
      )
      return [log, all({ symbol: () => new W[name](Symbol('s')) })]
    },
    [['message', 'has cause', 'get cause'], { symbol: throws('TypeError') }]
  )

  check(
    `${name}: message and stack are own, not enumerable`,
    (W) => {
      const error = new W[name]('m')
      const { writable, enumerable, configurable } = Object.getOwnPropertyDescriptor(error, 'message')
      return [writable, enumerable, configurable, Object.keys(error), error.stack.split('\n')[0]]
    },
    [true, false, true, [], `${name}: m`]
  )

  check(
    `${name}: subclasses and new.target`,
    (W) => {
      class Mine extends W[name] {
        name = 'Mine'
      }
      const mine = new Mine('m')
      return [
        mine instanceof W[name],
        Object.getPrototypeOf(mine) === Mine.prototype,
        String(mine),
        Object.getPrototypeOf(Reflect.construct(W[name], [], Array)) === Array.prototype,
      ]
    },
    [true, true, 'Mine: m', true]
  )
}

check(
  'the classes are three, and none is a NativeError of JavaScript',
  (W) => [
    W.CompileError === W.LinkError,
    W.LinkError === W.RuntimeError,
    [W.CompileError, W.LinkError, W.RuntimeError].some((x) => [Error, SyntaxError, TypeError, RangeError].includes(x)),
    new W.LinkError() instanceof W.CompileError,
  ],
  [false, false, false, false]
)

check('errors that the engine makes: own properties, prototype and stack', (W, { module }) => {
  const caught = (run) => {
    try {
      return run()
    } catch (error) {
      return error
    }
  }
  const errors = [
    caught(() => new W.Module(new Uint8Array(8))),
    caught(() => new W.Instance(module('(import "a" "b" (func))'), { a: {} })),
    caught(() => new W.Instance(module('(import "a" "b" (func))'))),
    caught(() => new W.Instance(module('(func $s unreachable) (start $s)'))),
    caught(() => new W.Memory({})),
    caught(() => new W.Table({ element: 'anyfunc', initial: 2, maximum: 1 })),
  ]
  return errors.map((error) => [
    Object.keys(error),
    Reflect.ownKeys(error)
      .map(String)
      .sort()
      .filter((key) => key !== 'code'),
    Object.prototype.toString.call(error),
    error.stack.split('\n')[0] === `${error.name}: ${error.message}`,
    'cause' in error,
  ])
})

check('errors that the engine makes have the place of the call in their stack', (W) => {
  function placeOfTheCall() {
    return new W.Module(new Uint8Array(8))
  }
  try {
    return placeOfTheCall()
  } catch (error) {
    return error.stack.split('\n').findIndex((line) => line.includes('placeOfTheCall'))
  }
})

check('errors of promises: their stack begins with their message', async (W) => {
  const errors = []
  for (const run of [
    () => W.compile(new Uint8Array(8)),
    () => W.instantiate(new Uint8Array(8)),
    () => W.compile(1),
    () => W.instantiate(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]), 1),
  ]) {
    try {
      await run()
    } catch (error) {
      errors.push([error, error.stack.split('\n')[0] === `${error.name}: ${error.message}`])
    }
  }
  return errors
})

check('Error.prepareStackTrace and Error.stackTraceLimit are obeyed', (W) => {
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = 1
    const short = (() => {
      try {
        return new W.Module(new Uint8Array(8))
      } catch (error) {
        return error.stack.split('\n').length
      }
    })()
    Error.stackTraceLimit = 0
    const none = (() => {
      try {
        return new W.Module(new Uint8Array(8))
      } catch (error) {
        return error.stack.split('\n').length
      }
    })()
    return [short, none]
  } finally {
    Object.assign(Error, { prepareStackTrace, stackTraceLimit })
  }
})

check(
  'error classes and functions of another realm',
  (W, { all, link }) => {
    const run = vm.runInNewContext('(f) => f()')
    const { f } = link('(func (export "f") unreachable)')
    const classes = (call) => {
      try {
        return run(call)
      } catch (error) {
        return [error instanceof W.RuntimeError, error instanceof W.CompileError, error instanceof TypeError]
      }
    }
    return all({
      trap: () => classes(f),
      compile: () => classes(() => new W.Module(new Uint8Array(8))),
      type: () => classes(() => new W.Module(1)),
    })
  },
  { trap: [true, false, false], compile: [false, true, false], type: [false, false, true] }
)
