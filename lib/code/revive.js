'use strict'

// From the bytes of a module, and V8's code of it in the cache, to a module of the built-in engine's.
//
// Promise: V8 is given what the cache's seal covers, of these bytes, of this V8, its flags and this processor; or nothing.
// Whatever fails, the caller compiles as it would have. Nothing here throws.

const { types } = require('node:util')
const vm = require('node:vm')

const host = require('./host.js')
const { optionsOf } = require('./standard.js')
const verdicts = require('../front/verdicts.js')

/** V8 14 has a function for it, for modules without options of the standard's. */
const HAS_FUNCTION = Number.parseInt(process.versions.v8, 10) >= 14

const PROBE = new vm.Script(`
  WebAssembly.compileStreaming({ __proto__: null, get then() { stacks.push(new Error().stack) } }).catch(() => {})
  stacks.length = 0`)
// A module that V8 compiles after all, because it refuses the code, comes later, and may meet another one's token.
const STREAM = new vm.Script(`((own) => {
  WebAssembly.compileStreaming(own, options).then((module) => { if (own === token) result = module }, () => {})
})(token)`)

/** Of Node's file that has the callback's other half. */
const NODES = 'node:internal/wasm_web_api'

const sandbox = Object.assign(Object.create(null), { stacks: [], result: undefined, token: undefined, options: undefined })

let context

/**
 * Whether the callback that gets what is streamed is Node's own, and not another addon's, which could not be put back. V8 asks
 * what it is given for `then`, and so does Node's.
 */
function isNodes() {
  // Its microtasks run before a script in it returns, so that what is streamed is there at once.
  context ??= vm.createContext(sandbox, { microtaskMode: 'afterEvaluate' })
  PROBE.runInContext(context)
  return sandbox.stacks.some((stack) => stack.includes(NODES))
}

function stream(token, options) {
  Object.assign(sandbox, { token, options, result: undefined })
  STREAM.runInContext(context)
  const { result } = sandbox
  Object.assign(sandbox, { token: undefined, options: undefined, result: undefined })
  return result
}

/** Whether V8 may be given code of a module that is compiled with these options of the standard's. */
const mayGive = (options) => (HAS_FUNCTION && options === undefined) || isNodes()

/** Where somebody listens. */
function emit(event) {
  if (require('../front/tell.js').isHeard(event.name)) require('../events/events.js').emit(event)
}

function hit(bytes, { hash, path, remembered }, artifactBytes, since, source) {
  const verified = remembered ? 'before' : 'now'
  const dur = performance.now() - since
  emit({ name: 'moduleCacheHit', dur, source, bytes, hash, artifactBytes, path, verified, pages: 'private', mapping: dur })
}

/**
 * @param {Uint8Array} bytes
 * @param {{name: string, standard: string}} choice as ../front/verdicts.js gives it
 * @param {{partition: string, source: string, url?: string}} about `url`: by which V8 is to call the module
 * @param {object} builtin the namespace of the realm that the module is to be of
 * @returns {object | undefined} a module; undefined where there is no code that V8 takes
 */
function revive(bytes, { name, standard }, { partition, source, url = '' }, builtin) {
  try {
    // Another thread could change them between our look and V8's.
    if (types.isSharedArrayBuffer(bytes.buffer)) return undefined
    const shim = host.load()
    const options = optionsOf(standard)
    if (shim === undefined || !mayGive(options)) return undefined
    const since = performance.now()
    const native = require('../process/addon.js')
    require('../cache/environment.js').configure(native)
    const description = host.describe(standard)
    const found = native.findHostCode(bytes, partition, description)
    if (found.code === undefined) {
      const { reason, isDefective } = found
      emit({
        name: isDefective ? 'moduleCacheInvalid' : 'moduleCacheMiss',
        dur: performance.now() - since,
        source,
        hash: '',
        reason,
      })
      verdicts.forgetCode(name)
      return undefined
    }
    const length = found.code.byteLength
    const module = give(shim, bytes, found.code, { url, options }, builtin)
    if (module === undefined) {
      native.refuseHostCode(found.hash, partition, description)
      verdicts.forgetCode(name)
      const reason = 'V8 refuses it'
      emit({ name: 'moduleCacheInvalid', dur: performance.now() - since, source, hash: found.hash, reason })
      return undefined
    }
    hit(bytes.length, found, length, since, source)
    return module
  } catch {
    // No addon, no cache, no memory: it runs as it does without us.
    return undefined
  }
}

/** A module of the realm whose built-in namespace it is; undefined where V8 does not take the code. */
function give(shim, bytes, code, { url = '', options = undefined }, builtin) {
  const way = HAS_FUNCTION && options === undefined ? undefined : (token) => stream(token, options)
  const module = shim.revive(bytes, code, url, way)
  if (module === undefined || module === false) return undefined
  // V8 has it now for everything that is compiled of the same bytes, in this realm as in others.
  const isOwn = module !== true && Object.getPrototypeOf(module) === builtin.Module.prototype
  return isOwn ? module : new builtin.Module(bytes, options)
}

module.exports = { give, mayGive, revive }
