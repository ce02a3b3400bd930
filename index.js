'use strict'

// The package's face: the namespace's members by name, and what takes the built-in's place.

const { cache } = require('./lib/cache.js')
const { install, uninstall } = require('./lib/install.js')
const namespace = require('./lib/namespace.js')

require('./lib/events.js').start()
require('./lib/exit.js').install()

// One assignment a name: Node's cjs-module-lexer reads them, so that `import { compileStreaming }` works.
exports.compile = namespace.compile
exports.compileStreaming = namespace.compileStreaming
exports.instantiate = namespace.instantiate
exports.instantiateStreaming = namespace.instantiateStreaming
exports.validate = namespace.validate
exports.Module = namespace.Module
exports.Instance = namespace.Instance
exports.Memory = namespace.Memory
exports.Table = namespace.Table
exports.Global = namespace.Global
exports.Tag = namespace.Tag
exports.JSTag = namespace.JSTag
exports.Exception = namespace.Exception
exports.CompileError = namespace.CompileError
exports.LinkError = namespace.LinkError
exports.RuntimeError = namespace.RuntimeError
exports.WebAssembly = namespace
exports.cache = cache
exports.install = install
exports.uninstall = uninstall
