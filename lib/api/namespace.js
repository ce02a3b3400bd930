'use strict'

// The WebAssembly namespace object, complete and with the property attributes of the built-in one.

const path = require('node:path')

const { state } = require('../front/state.js')
const { Global } = require('./global.js')
const { Instance } = require('./instance.js')
const { Memory } = require('./memory.js')
const { Module } = require('./module.js')
const { builtin } = require('../process/native.js')
const { makeOperations } = require('./operations.js')
const realm = require('../process/realm.js')
const { Table } = require('./table.js')
const { Tag } = require('./tag.js')

// From here on, objects of ours may exist.
state.isEngaged = true

const operations = makeOperations('ours')

const interfaces = { Module, Instance, Table, Memory, Global, Tag }

// Stack switching: without these, programs that look for it use what works on this engine.
const LEFT_OUT = ['Suspending', 'promising', 'SuspendError']

// In the order and with the attributes of the built-in one. Where Node put no streaming functions (in a vm context), ours
// come last. Everything that is not listed above (the errors, JSTag, what a newer V8 adds) is the built-in's.
//
// ../../register.js has put an object in the built-in's place that waits for this.
const isWaitedFor = realm.waiting?.from === path.dirname(__dirname)
const namespace = isWaitedFor ? realm.waiting.namespace : {}
if (isWaitedFor) realm.waiting = undefined
const members = { ...operations, ...interfaces }
for (const name of new Set([...Reflect.ownKeys(builtin), ...Reflect.ownKeys(members)])) {
  if (LEFT_OUT.includes(name)) continue
  const attributes = Object.getOwnPropertyDescriptor(builtin, name) ?? { writable: true, enumerable: true, configurable: true }
  Object.defineProperty(namespace, name, Object.hasOwn(members, name) ? { ...attributes, value: members[name] } : attributes)
}

module.exports = namespace
