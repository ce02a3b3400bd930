'use strict'

const { readFileSync } = require('node:fs')
const path = require('node:path')
const wasm = require('wasm-compile-cache')

const bytes = readFileSync(path.join(path.dirname(require.resolve('sql.js')), 'sql-wasm.wasm'))

test('a module is compiled by this package, and the global is left alone', async () => {
  const module = await wasm.compile(bytes)
  expect(module).toBeInstanceOf(wasm.Module)
  expect(wasm.Module.exports(module)).toEqual(WebAssembly.Module.exports(new WebAssembly.Module(bytes)))
  expect(WebAssembly).not.toBe(wasm.WebAssembly)
  expect(WebAssembly.Module.tier).toBeUndefined()
})

test('a module that is cut off is an error of the classes this file knows', async () => {
  const cut = bytes.subarray(0, 1000)
  await expect(wasm.compile(cut)).rejects.toBeInstanceOf(WebAssembly.CompileError)
  expect(() => new wasm.Module(cut)).toThrow(WebAssembly.CompileError)
  expect(() => new wasm.Module(cut)).toThrow(Error)
})

test('what is asked for wrongly is a TypeError of this file', async () => {
  await expect(wasm.compile('sql-wasm.wasm')).rejects.toBeInstanceOf(TypeError)
  const module = new wasm.Module(bytes)
  expect(() => new wasm.Instance(module)).toThrow(TypeError)
  expect(() => new wasm.Instance(module, Object.fromEntries(wasm.Module.imports(module).map((one) => [one.module, {}])))).toThrow(
    WebAssembly.LinkError
  )
})
