import { expectAssignable, expectError, expectType } from 'tsd'
import wasm from '../../..'

// The platform's objects are sources.
declare const response: Response
declare const stream: ReadableStream<Uint8Array<ArrayBuffer>>
declare const blob: Blob
declare const controller: AbortController
expectType<Promise<wasm.Module>>(wasm.compileStreaming(response))
expectType<Promise<wasm.Module>>(wasm.compileStreaming(fetch('app.wasm')))
expectType<Promise<wasm.Module>>(wasm.compileStreaming(stream))
expectType<Promise<wasm.Module>>(wasm.compileStreaming(blob))
expectType<Promise<wasm.Module>>(wasm.compileStreaming(new URL('file:///app.wasm'), { signal: controller.signal }))

// This package's objects go where the built-in's are asked for …
declare const module: wasm.Module
declare const instance: wasm.Instance
expectAssignable<WebAssembly.Module>(module)
expectAssignable<WebAssembly.Instance>(instance)
expectAssignable<WebAssembly.Memory>(new wasm.Memory({ initial: 1 }))
expectAssignable<WebAssembly.Table>(new wasm.Table({ element: 'anyfunc', initial: 1 }))
expectAssignable<WebAssembly.Global<'i32'>>(new wasm.Global({ value: 'i32' }, 1))
expectAssignable<WebAssembly.CompileError>(new wasm.CompileError())

expectType<Promise<WebAssembly.Instance>>(WebAssembly.instantiate(module, { env: { memory: new wasm.Memory({ initial: 1 }) } }))

// … its functions in the place of the built-in's …
expectAssignable<Omit<typeof WebAssembly, 'Module'>>(wasm) // Module.exports() knows one kind more: tags

// … and the built-in's fit here.
declare const imports: WebAssembly.Imports
declare const standard: WebAssembly.Module
expectType<Promise<wasm.Instance>>(wasm.instantiate(standard, imports))
expectAssignable<wasm.ImportValue>(new WebAssembly.Memory({ initial: 1 }))
expectAssignable<wasm.Imports>(imports)

// Without `wasm-compile-cache/register` the global is as it was.
expectError(WebAssembly.compile(new Uint8Array(8), { partition: 'p' }))
expectError(WebAssembly.compileStreaming(blob))
