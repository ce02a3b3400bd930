'use strict'

// WebAssembly.Module.

const { compileNow } = require('./compile.js')
const { native } = require('./native.js')
const { readOptions } = require('./options.js')
const { defineInterface, requireNew } = require('./webidl.js')

/** Module -> {handle, imports, exports, memories}, the last three as native lists them. */
const states = new WeakMap()

const isModule = (value) => states.has(value)

function adopt(module, handle) {
  states.set(module, {
    handle,
    imports: native.moduleImports(handle),
    exports: native.moduleExports(handle),
    memories: native.moduleDefinedMemories(handle),
  })
  return module
}

function Module(bytes, options = undefined) {
  const where = 'WebAssembly.Module()'
  requireNew(new.target, 'Module')
  adopt(this, compileNow(bytes, readOptions(options, where), where))
}

const moduleFromHandle = (handle) => adopt(Object.create(Module.prototype), handle)

const describeModule = (module) => states.get(module)

function stateOf(value, method) {
  const state = states.get(value)
  if (state === undefined) {
    throw new TypeError(`WebAssembly.Module.${method}(): Argument 0 must be a WebAssembly.Module`)
  }
  return state
}

const statics = {
  imports(module) {
    return stateOf(module, 'imports').imports.map(({ module: from, name, kind }) => ({ module: from, name, kind }))
  },

  exports(module) {
    return stateOf(module, 'exports').exports.map(({ name, kind }) => ({ name, kind }))
  },

  // The second parameter has no default, so that `length` is 2; V8 wants it present and not undefined.
  customSections(module, sectionName) {
    const { handle } = stateOf(module, 'customSections')
    if (sectionName === undefined) {
      throw new TypeError('WebAssembly.Module.customSections(): Argument 1 is required')
    }
    return native.moduleCustomSections(handle, `${sectionName}`)
  },
}

// Documented extras. Not enumerable: what walks the standard's members does not meet them.
const extras = {
  /** @returns {'baseline' | 'optimized'} */
  tier(module) {
    return native.moduleTier(stateOf(module, 'tier').handle)
  },

  /** Settles when the optimizing tier's code is in place; keeps the process alive until then. */
  optimized(module) {
    return new Promise((resolve, reject) => {
      native.moduleOptimized(stateOf(module, 'optimized').handle, (message) => {
        if (message === null || message === undefined) resolve()
        else reject(new Error(message))
      })
    })
  },
}

defineInterface(Module, 'WebAssembly.Module', {}, statics)
for (const [name, value] of Object.entries(extras)) {
  Object.defineProperty(Module, name, { value, writable: true, configurable: true })
}
module.exports = { Module, describeModule, isModule, moduleFromHandle }
