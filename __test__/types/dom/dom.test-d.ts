import { expectAssignable, expectType } from 'tsd'
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
expectAssignable<WebAssembly.Global>(new wasm.Global({ value: 'i32' }, 1))
expectAssignable<WebAssembly.CompileError>(new wasm.CompileError())

// … its functions in the place of the built-in's …
expectAssignable<Omit<typeof WebAssembly, 'Module'>>(wasm) // Module.exports() knows one kind more: tags

// … and the built-in's memories and imports fit here.
declare const imports: WebAssembly.Imports
expectAssignable<wasm.ImportValue>(new WebAssembly.Memory({ initial: 1 }))
expectAssignable<wasm.Imports>(imports)
