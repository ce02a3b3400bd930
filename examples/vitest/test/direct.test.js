import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import wasm, { Module, compile, compileStreaming } from 'wasm-compile-cache'

const file = new URL(import.meta.resolve('sql.js/dist/sql-wasm.wasm'))

test('the named exports stand beside the built-in', async () => {
  const module = await compileStreaming(file)
  expect(module).toBeInstanceOf(Module)
  expect(Module.exports(module)).toEqual(WebAssembly.Module.exports(new WebAssembly.Module(await readFile(file))))
  expect(wasm.WebAssembly).not.toBe(WebAssembly)
})

test('errors are those of the global', async () => {
  await expect(compile(new Uint8Array([1, 2, 3, 4]))).rejects.toBeInstanceOf(WebAssembly.CompileError)
})
