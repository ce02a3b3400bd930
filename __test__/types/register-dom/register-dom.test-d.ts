import { expectAssignable, expectType } from 'tsd'
import '../../../register'

// What the standard's own calls give fits where the standard's types are asked for.
declare const bytes: Uint8Array<ArrayBuffer>
declare const imports: WebAssembly.Imports
expectAssignable<Promise<WebAssembly.Module>>(WebAssembly.compile(bytes))
expectAssignable<Promise<WebAssembly.Module>>(WebAssembly.compileStreaming(fetch('app.wasm')))
expectAssignable<Promise<WebAssembly.WebAssemblyInstantiatedSource>>(WebAssembly.instantiate(bytes, imports))
expectAssignable<Promise<WebAssembly.Instance>>(WebAssembly.instantiate(new WebAssembly.Module(bytes), imports))
expectAssignable<Promise<WebAssembly.WebAssemblyInstantiatedSource>>(WebAssembly.instantiateStreaming(fetch('app.wasm')))
expectType<WebAssembly.ModuleExportDescriptor[]>(WebAssembly.Module.exports(new WebAssembly.Module(bytes)))
