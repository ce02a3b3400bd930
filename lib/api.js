'use strict'

// What ../index.js exports, by name.

const { cache } = require('./cache.js')
const { install, uninstall } = require('./install.js')
const namespace = require('./namespace.js')

require('./events.js').start()
require('./exit.js').install()

const { compile, compileStreaming, instantiate, instantiateStreaming, validate } = namespace
const { Module, Instance, Memory, Table, Global, Tag, JSTag, Exception, CompileError, LinkError, RuntimeError } = namespace

module.exports = {
  compile,
  compileStreaming,
  instantiate,
  instantiateStreaming,
  validate,
  Module,
  Instance,
  Memory,
  Table,
  Global,
  Tag,
  JSTag,
  Exception,
  CompileError,
  LinkError,
  RuntimeError,
  WebAssembly: namespace,
  cache,
  install,
  uninstall,
}
