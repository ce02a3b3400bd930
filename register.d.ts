// Importing this installs the package in the place of `globalThis.WebAssembly`:
//   node --require wasm-compile-cache/register program.js
// It never throws: where the package cannot be used, the program runs without it, and a warning says why.
//
// Its types are the global's from then on: the functions take this package's sources and options, as overloads beside
// those of TypeScript's "dom" library. Without that library these declarations are all there is of the global.

import type * as wasm from './index.js'

/** A variable's type must be the same wherever it is declared: that of "dom" (or "webworker") where that has it. */
type Declared<Name extends string, Ours> = typeof globalThis extends {
  onmessage: any
  WebAssembly: { [name in Name]: infer Standard }
}
  ? Standard
  : Ours

declare global {
  namespace WebAssembly {
    // "dom" has it since TypeScript 6, for `new WebAssembly.Module` too.
    interface WebAssemblyCompileOptions extends wasm.SyncCompileOptions {}

    function compile(bytes: wasm.BufferSource, options?: wasm.CompileOptions): Promise<wasm.Module>
    function compileStreaming(source: wasm.Source, options?: wasm.CompileOptions): Promise<wasm.Module>
    function instantiate(
      bytes: wasm.BufferSource,
      importObject?: wasm.Imports,
      options?: wasm.CompileOptions
    ): Promise<wasm.WebAssemblyInstantiatedSource>
    function instantiate(moduleObject: wasm.Module, importObject?: wasm.Imports): Promise<wasm.Instance>
    function instantiateStreaming(
      source: wasm.Source,
      importObject?: wasm.Imports,
      options?: wasm.CompileOptions
    ): Promise<wasm.WebAssemblyInstantiatedSource>
    function validate(bytes: wasm.BufferSource, options?: wasm.SyncCompileOptions): boolean

    var Module: Declared<'Module', typeof wasm.Module>
    var Instance: Declared<'Instance', typeof wasm.Instance>
    var Memory: Declared<'Memory', typeof wasm.Memory>
    var Table: Declared<'Table', typeof wasm.Table>
    var Global: Declared<'Global', typeof wasm.Global>
    var CompileError: Declared<'CompileError', typeof wasm.CompileError>
    var LinkError: Declared<'LinkError', typeof wasm.LinkError>
    var RuntimeError: Declared<'RuntimeError', typeof wasm.RuntimeError>
  }
}
