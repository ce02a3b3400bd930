import { expectError, expectType } from 'tsd'
import type wasm from '../../..'
import '../../../register'

// With and without "dom" (scripts/types.js): the global takes this package's sources and options.

const bytes = new Uint8Array(8)
async function* chunks() {
  yield bytes
}

expectType<Promise<wasm.Module>>(WebAssembly.compile(bytes, { partition: 'p', fallback: 'error', signal: undefined }))
expectType<Promise<wasm.Module>>(WebAssembly.compileStreaming(chunks()))
expectType<Promise<wasm.Module>>(WebAssembly.compileStreaming(Promise.resolve(bytes), { cache: 'read-only' }))
expectType<Promise<wasm.WebAssemblyInstantiatedSource>>(WebAssembly.instantiate(bytes, {}, { minSize: 0 }))
expectType<Promise<wasm.WebAssemblyInstantiatedSource>>(WebAssembly.instantiateStreaming(chunks(), {}, { optimize: false }))
expectError(WebAssembly.compile(bytes, { chache: false }))
expectError(WebAssembly.instantiate(bytes, {}, { finish: 'no' }))
expectError(WebAssembly.compileStreaming(1))
expectType<boolean>(WebAssembly.validate(bytes))

// The classes are there either way.
declare const module: wasm.Module
const instance = new WebAssembly.Instance(module, { env: { memory: new WebAssembly.Memory({ initial: 1 }) } })
expectType<string[]>(Object.keys(instance.exports))
expectType<number>(new WebAssembly.Memory({ initial: 1 }).grow(1))
expectType<number>(new WebAssembly.Table({ element: 'anyfunc', initial: 1 }).length)
expectType<bigint>(new WebAssembly.Global({ value: 'i64' }, 1n).value)
expectType<string>(new WebAssembly.CompileError('message').message)
expectType<string>(WebAssembly.LinkError('message').message)
expectType<string>(new WebAssembly.RuntimeError().message)
