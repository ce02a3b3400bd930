'use strict'

// createContext and runInNewContext of node:vm, which give the contexts that they make our namespace (./contexts.js).

const vm = require('node:vm')

const { apply, defineProperty, getOwnPropertyDescriptor } = Reflect

const REALM = Symbol.for('wasm-compile-cache.realm')

/** What they take of the rest, which is loaded by the first context; undefined where it cannot be. */
function rest() {
  try {
    if (globalThis[REALM]?.isAuto) return { ...require('../front/contexts.js'), ...require('../front/leaving.js') }
    // ../../register.js may be waiting for that, and says why it cannot be loaded.
    void globalThis.WebAssembly?.Module
    return { ...require('./contexts.js'), ...require('../api/stack.js') }
  } catch {
    return undefined
  }
}

const { createContext: nodesCreate } = vm
const { runInNewContext: nodesRun } = vm.Script.prototype

/** @returns what vm.createContext does */
function create(contextObject, list) {
  const context = apply(nodesCreate, vm, list)
  rest()?.adopt(context, contextObject, list[1]?.codeGeneration?.wasm !== false)
  return context
}

/** A context by the options of those that make one and run a script in it; undefined where Node refuses them. */
function createFor(contextObject = {}, options = undefined) {
  try {
    const { contextName: name, contextOrigin: origin, contextCodeGeneration: codeGeneration, microtaskMode } = options ?? {}
    return create(contextObject, [contextObject, { name, origin, codeGeneration, microtaskMode }])
  } catch {
    return undefined
  }
}

function createContext(contextObject = {}, options = undefined) {
  try {
    return create(contextObject, options === undefined ? [contextObject] : [contextObject, options])
  } catch (error) {
    throw rest()?.leaving(error, createContext) ?? error // node-do-not-add-exception-line
  }
}

// vm.runInNewContext calls it, too.
const { runInNewContext } = {
  runInNewContext(contextObject, options) {
    try {
      const context = createFor(contextObject, options)
      return apply(nodesRun, this, context === undefined ? arguments : [context, options])
    } catch (error) {
      throw rest()?.leaving(error, runInNewContext) ?? error // node-do-not-add-exception-line
    }
  },
}

// Node's module, not a copy that a test runner made for a realm of its own.
const isNodes = nodesCreate instanceof Function

function replace(target, name, from, to) {
  const descriptor = getOwnPropertyDescriptor(target, name)
  if (isNodes && descriptor?.value === from) defineProperty(target, name, { ...descriptor, value: to })
}

/** Has contexts that are made from here on get our namespace. */
function install() {
  replace(vm, 'createContext', nodesCreate, createContext)
  replace(vm.Script.prototype, 'runInNewContext', nodesRun, runInNewContext)
}

function uninstall() {
  replace(vm, 'createContext', createContext, nodesCreate)
  replace(vm.Script.prototype, 'runInNewContext', runInNewContext, nodesRun)
}

module.exports = { install, uninstall }
