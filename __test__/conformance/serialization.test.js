'use strict'
// Structured serialization.
// https://webassembly.github.io/spec/web-api/#serialization; of a Memory, https://github.com/WebAssembly/threads (JS API)

const v8 = require('node:v8')

const { check, throws } = require('../support/conformance.js')

const WAT = '(func (export "f") (result i32) i32.const 7)'

check(
  'serialization steps [#serialization] of a Module: the clone has its code',
  (W, { module }) => {
    const original = module(WAT)
    const clone = structuredClone(original)
    // A clone of another namespace's class is one all the same: its methods and imports take it.
    return [clone === original, W.Module.exports(clone), new W.Instance(clone).exports.f(), Object.prototype.toString.call(clone)]
  },
  [false, [{ name: 'f', kind: 'function' }], 7, '[object WebAssembly.Module]']
)

check(
  'serialization steps: custom sections go with the bytes',
  (W) => {
    const clone = structuredClone(new W.Module(new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 0, 4, 1, 0x78, 1, 2])))
    return W.Module.customSections(clone, 'x').map((buffer) => new Uint8Array(buffer))
  },
  [new Uint8Array([1, 2])]
)

check(
  'serialization steps: a Module among other values keeps its place and identity',
  (W, { module }) => {
    const original = module(WAT)
    const clone = structuredClone({ a: original, b: [original] })
    return [clone.a === clone.b[0], new W.Instance(clone.a).exports.f()]
  },
  [true, 7]
)

check(
  'serialization steps 1: a Module is not for storage',
  (W, { all, module }) => {
    const original = module(WAT)
    return all({ serialize: () => v8.serialize(original), deserialize: () => v8.deserialize(v8.serialize(original)) })
  },
  undefined,
  { messages: false }
)

check(
  'a shared Memory is cloned, its pages are not',
  (W) => {
    const memory = new W.Memory({ initial: 1, maximum: 3, shared: true })
    const clone = structuredClone(memory)
    new Uint8Array(memory.buffer)[5] = 9
    const seen = new Uint8Array(clone.buffer)[5]
    memory.grow(1)
    return [clone === memory, seen, clone.buffer.byteLength, Object.prototype.toString.call(clone)]
  },
  [false, 9, 131072, '[object WebAssembly.Memory]']
)

for (const [name, make] of [
  ['Memory', (W) => new W.Memory({ initial: 1 })],
  ['Instance', (W, { module }) => new W.Instance(module(''))],
  ['Table', (W) => new W.Table({ element: 'anyfunc', initial: 1 })],
  ['Global', (W) => new W.Global({ value: 'i32' }, 1)],
  ['Tag', (W) => new W.Tag({ parameters: [] })],
  ['Exception', (W) => new W.Exception(new W.Tag({ parameters: [] }), [])],
]) {
  check(`a ${name} is not [Serializable]`, (W, tools) => {
    const describe = (error) => (error instanceof DOMException ? [error.name, error.message] : error)
    try {
      return structuredClone(make(W, tools))
    } catch (error) {
      return describe(error)
    }
  })
}

check(
  'an Exported Function is not [Serializable]',
  (W, { link }) => {
    try {
      return structuredClone(link(WAT).f)
    } catch (error) {
      return error.name
    }
  },
  'DataCloneError'
)

check(
  'StructuredSerializeWithTransfer: nothing of WebAssembly is [Transferable]',
  (W, { all, module }) =>
    all({
      module: () => {
        const m = module('')
        return structuredClone(m, { transfer: [m] })
      },
      memory: () => {
        const m = new W.Memory({ initial: 1 })
        return structuredClone(m, { transfer: [m] })
      },
      buffer: () => {
        const { buffer } = new W.Memory({ initial: 1 })
        return structuredClone(buffer, { transfer: [buffer] })
      },
    }),
  undefined,
  { messages: false }
)

check('errors: a CompileError cloned is an Error of its message', (W) => {
  const clone = structuredClone(new W.CompileError('m'))
  return [clone instanceof Error, clone.message, clone.name]
})

check(
  'throws of a clone are of this realm',
  (W, { all, module }) => {
    const clone = structuredClone(module('(import "a" "b" (func))'))
    return all({ link: () => new W.Instance(clone, { a: {} }), type: () => new W.Instance(clone) })
  },
  { link: throws('LinkError'), type: throws('TypeError') }
)
