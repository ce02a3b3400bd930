'use strict'

// What the program's vm contexts get in the place of their WebAssembly, as soon as it is used: contexts are many, and few of
// them use it. Until then, the members of a context's namespace are accessors.

const { types } = require('node:util')
const vm = require('node:vm')

const { createRecord, records } = require('./realms.js')

const { apply, defineProperty, getOwnPropertyDescriptor, getPrototypeOf } = Reflect
const { toString: sourceOf } = Function.prototype

const WARNING = { type: 'WasmCompileCacheWarning', code: 'ERR_WASM_CONTEXT' }

// The accessors are the context's own functions: one of this realm's would be a way out of the context.
const ENTER = `'use strict';
({
  namespace: WebAssembly,
  error: (() => {
    try { null.x } catch (error) { return error }
  })(),
  accessor: (read, write) => ({
    get() { return read() },
    set(value) { write(this, value) },
    enumerable: false,
    configurable: true,
  }),
})`

let enterScript

/** The built-in WebAssembly of a context and what makes accessors there; undefined where the program has its own. */
function enter(context, contextObject) {
  // A sandbox's own member of that name must not be read; that of a Proxy cannot be looked up without the Proxy's
  // noticing.
  if (context === contextObject && !types.isProxy(context) && 'WebAssembly' in context) return undefined
  try {
    const found = (enterScript ??= new vm.Script(ENTER, { filename: __filename })).runInContext(context)
    const { namespace } = found
    if (records.has(namespace) || getPrototypeOf(namespace) !== getPrototypeOf(found)) return undefined
    return apply(sourceOf, getOwnPropertyDescriptor(namespace, 'Module').value, []).includes('[native code]') ? found : undefined
  } catch {
    return undefined
  }
}

/**
 * Replaces members of a new context's namespace, as soon as one of them is used.
 *
 * @param {object} context
 * @param {object} contextObject what it was made of
 * @param {boolean} compiles whether WebAssembly may be compiled there
 * @param {string[]} names the members
 * @param {(context: object, record: object, error: Error) => {members: object, ready?: () => void}} load gives what they are,
 *   for the realm of `record`, and what is to be done once they are there; `error` is one of V8's of that realm
 * @returns {{namespace: object, error: Error} | undefined} undefined where the program has its own
 */
function replaceIn(context, contextObject, compiles, names, load) {
  const found = enter(context, contextObject)
  if (found === undefined) return undefined
  const { namespace, accessor, error } = found
  const builtin = Object.create(null, Object.getOwnPropertyDescriptors(namespace))
  const record = createRecord(namespace, builtin, compiles)
  records.set(namespace, record)

  let own
  const loaded = () => {
    if (own !== undefined) return own
    let ready
    try {
      ;({ members: own, ready } = load(context, record, error))
    } catch (reason) {
      // The files are not there any more, or the process has no descriptor left.
      process.emitWarning(`A vm context keeps the built-in WebAssembly: ${reason.message}`, WARNING)
      own = builtin
    }
    for (const name of names) {
      const property = getOwnPropertyDescriptor(own, name)
      if (property !== undefined) defineProperty(namespace, name, property)
    }
    ready?.()
    return own
  }
  for (const name of names) {
    if (!Object.hasOwn(builtin, name)) continue
    const write = (receiver, value) => {
      loaded()
      Reflect.set(namespace, name, value, receiver)
    }
    defineProperty(
      namespace,
      name,
      accessor(() => loaded()[name], write)
    )
  }
  return found
}

module.exports = { replaceIn }
