'use strict'

// The package's face: the namespace's members by name, and what takes the built-in's place. All of it is loaded when one of
// them is used.

const { defineProperty } = Reflect

const STARTED = Symbol.for('wasm-compile-cache.started')

// The environment may be another one by then.
if (process[STARTED] === undefined) {
  const environment = { ...process.env }
  const directory = environment.WASM_COMPILE_CACHE && require('node:path').resolve(environment.WASM_COMPILE_CACHE)
  defineProperty(process, STARTED, { value: { environment, directory } })
}

// One assignment a name: Node's cjs-module-lexer reads them, so that `import { compileStreaming }` works.
exports.compile = undefined
exports.compileStreaming = undefined
exports.instantiate = undefined
exports.instantiateStreaming = undefined
exports.validate = undefined
exports.Module = undefined
exports.Instance = undefined
exports.Memory = undefined
exports.Table = undefined
exports.Global = undefined
exports.Tag = undefined
exports.JSTag = undefined
exports.Exception = undefined
exports.CompileError = undefined
exports.LinkError = undefined
exports.RuntimeError = undefined
exports.WebAssembly = undefined
exports.cache = undefined
exports.install = undefined
exports.uninstall = undefined
exports.licences = undefined

const names = Object.keys(exports)

const engine = (name) => require('./dist/engine.js').load(name)

// Says so where there is none.
if (globalThis.WebAssembly === undefined) engine('process/realm.js')

function load() {
  const api = engine('api.js')
  for (const name of names) {
    defineProperty(exports, name, { value: api[name], writable: true, enumerable: true, configurable: true })
  }
}

/** Whether Node makes an ES module of this one: it takes what throws for undefined. */
const isAskedByImport = () => `${new Error().stack}`.includes('node:internal/modules/esm/translators')

/** What throws `error` as soon as it is used. */
function standIn(error) {
  const fail = () => {
    throw error
  }
  return new Proxy(function () {}, { apply: fail, construct: fail, get: fail })
}

for (const name of names) {
  defineProperty(exports, name, {
    get() {
      try {
        load()
      } catch (error) {
        if (isAskedByImport()) return standIn(error)
        throw error
      }
      return exports[name]
    },
    set(value) {
      load()
      exports[name] = value
    },
    enumerable: true,
    configurable: true,
  })
}
