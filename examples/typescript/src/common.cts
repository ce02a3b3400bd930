// A CommonJS module. `import … = require()` and named imports both work.
import wasm = require('wasm-compile-cache')
import { Module, validate } from 'wasm-compile-cache'
import { readFileSync } from 'node:fs'

const bytes = readFileSync(require.resolve('sql.js/dist/sql-wasm.wasm'))
const options: wasm.SyncCompileOptions = { partition: 'example', fallback: 'error' }
const module_: wasm.Module = new Module(bytes, options)
const functions = Module.exports(module_).filter(({ kind }) => kind === 'function')

console.log(`CommonJS: valid ${validate(bytes)}, ${functions.length > 0 ? 'exports functions' : 'exports nothing'}`)
