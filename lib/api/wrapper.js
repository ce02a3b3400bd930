'use strict'

// Functions of ours where the built-in engine wants one of its own (in its tables and globals): a module that imports
// the function and exports it again gives it the built-in's form.

const { binary, exportFunction, functionType, importOf } = require('./binary.js')
const { shared } = require('../process/copies.js')
const { describeFunction } = require('./function.js')
const { builtin, helperModule } = require('../process/native.js')

/** Function of ours -> the built-in's form of it, and back. */
const wrappers = shared('wrappers of functions', () => new WeakMap())
const originals = shared('functions of wrappers', () => new WeakMap())

/** Signature -> (module (import "" "" (func (type 0))) (export "" (func 0))) */
const modules = shared('modules of wrappers', () => new Map())

function moduleFor(signature) {
  let module = modules.get(signature.text)
  if (module === undefined) {
    module = helperModule(binary(functionType(signature), importOf('', '', 'function', [0]), exportFunction('', 0)))
    modules.set(signature.text, module)
  }
  return module
}

/** A function of the built-in engine that calls `exported`, an exported function of ours. */
function functionForBuiltin(exported) {
  let wrapper = wrappers.get(exported)
  if (wrapper === undefined) {
    const module = moduleFor(describeFunction(exported).signature)
    wrapper = new builtin.Instance(module, { '': { '': exported } }).exports['']
    wrappers.set(exported, wrapper)
    originals.set(wrapper, exported)
  }
  return wrapper
}

/** The inverse: whatever is no wrapper is left as it is. */
const functionFromBuiltin = (value) => originals.get(value) ?? value

module.exports = { functionForBuiltin, functionFromBuiltin }
