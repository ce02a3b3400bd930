'use strict'

// What ../index.js exports, by name.

const { cache } = require('./cache/cache.js')
const { install, uninstall } = require('./process/install.js')
const { licences } = require('./process/licences.js')
const namespace = require('./api/namespace.js')

require('./events/events.js').start()
require('./process/exit.js').install()

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
  licences: licences(),
}
