'use strict'

// This package's engine for ../front/namespace.js: what takes over once a module of ours is there.
//
// Objects of either engine have the built-in's prototypes, whose members are those of our classes from then on: they know
// the built-in's own objects, and leave them to it.

require('../api.js')

const { Global } = require('./global.js')
const { Instance } = require('./instance.js')
const { Module, moduleOf } = require('./module.js')
const { compileNow } = require('../compile/compile.js')
const { readOptions } = require('../compile/options.js')
const { builtin } = require('../process/native.js')
const { makeOperations } = require('./operations.js')
const { leaving } = require('./stack.js')
const { Table } = require('./table.js')
const { Tag } = require('./tag.js')

const { defineProperty, getOwnPropertyDescriptor, ownKeys } = Reflect

for (const Class of [Instance, Table, Global]) {
  const { prototype } = builtin[Class.name]
  for (const key of ownKeys(Class.prototype)) {
    if (key === 'constructor' || key === Symbol.toStringTag) continue
    const { get, set, value } = getOwnPropertyDescriptor(Class.prototype, key)
    defineProperty(prototype, key, value === undefined ? { get, set } : { value })
  }
}

/** `new WebAssembly.Module(...list)`, with `self`'s prototype. */
function newModule([bytes, options], self) {
  const where = 'WebAssembly.Module()'
  return moduleOf(compileNow(bytes, readOptions(options, where, 'auto'), where), self)
}

module.exports = {
  classes: { Global, Instance, Module, Table, Tag },
  leaving,
  newModule,
  operations: makeOperations('auto'),
}
