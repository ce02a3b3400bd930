'use strict'

// WebAssembly.Module.
//
// A Module of ours is a carrier: a module of the built-in engine, with our prototype, that names the native module in
// a custom section. So it can be posted to another thread, where the name leads to the same native module; and it
// imports what does not exist, so that the built-in engine cannot instantiate it by mistake.
//
// A Module that this engine could not compile is the built-in engine's own, with our prototype.

const { CODES, NAMED, binary, custom, importOf } = require('./binary.js')
const { compileNow } = require('../compile/compile.js')
const { shared } = require('../process/copies.js')
const { tell } = require('../compile/fallback.js')
const { native, builtin, classes, helperModule } = require('../process/native.js')
const { readOptions } = require('../compile/options.js')
const realm = require('../process/realm.js')
const { leaving } = require('./stack.js')
const { defineInterface, inheriting, requireNew } = require('./webidl.js')

const builtinStatics = builtin.Module

const CARRIER = 'wasm-compile-cache.module'

/**
 * Module of ours -> {handle, imports, exports, memories, twin}, the lists as native gives them: of the exports, their `names`, the
 * letters of their `kinds` ({@link KINDS}), and the `types` of those that are no functions. `twin`: what the built-in engine made of the
 * same bytes, once it had to.
 */
const states = shared('modules', () => new WeakMap())

/** By native's letters (`src/module.rs`). */
const KINDS = { f: 'function', t: 'table', m: 'memory', g: 'global', e: 'tag' }

/** Modules of the built-in engine that were asked for their carrier's section before. */
const foreign = shared('modules of the built-in engine', () => new WeakSet())

/** The token of a carrier, '' for another module of the built-in engine, undefined for anything else. */
function tokenOf(value) {
  try {
    const [section] = builtinStatics.customSections(value, CARRIER)
    return section === undefined ? '' : Buffer.from(section).toString('latin1')
  } catch {
    return undefined
  }
}

/** Whether it is a Module of any class, copy or realm; one that another thread sent is made ready to be used. */
function isModule(value) {
  if (states.has(value) || foreign.has(value)) return true
  const token = tokenOf(value)
  if (token === undefined) return false
  if (token === '') {
    foreign.add(value)
    if (realm.installed.length > 0) receive(value)
    return true
  }
  const handle = native.moduleByToken(token)
  if (handle === null) {
    throw Object.assign(
      new classes.CompileError(
        'The module was compiled by another copy of wasm-compile-cache, or the thread that sent it dropped it before it ' +
          'was used here: keep a reference to it there'
      ),
      { code: 'ERR_WASM_MODULE_GONE' }
    )
  }
  adopt(receive(value), handle)
  return true
}

/** Gives our prototype to what V8 made of another thread's message; another realm's, and a subclass's, have their own. */
function receive(module) {
  if (realm.isAuto) return module
  return Object.getPrototypeOf(module) === builtinStatics.prototype ? Object.setPrototypeOf(module, Module.prototype) : module
}

function adopt(module, handle) {
  states.set(module, {
    handle,
    imports: native.moduleImports(handle),
    exports: native.moduleExports(handle),
    memories: native.moduleDefinedMemories(handle),
    twin: undefined,
  })
  return module
}

// A global: for a function the built-in engine would compile a wrapper.
const NOBODY_HAS = importOf('a module of wasm-compile-cache, which alone can instantiate it', '', 'global', [CODES.i, 0])

const TOKEN_LENGTH = 32

/** A carrier without its token; only the name of its maker follows that. */
const CARRIER_OF_NONE = binary(NOBODY_HAS, custom(CARRIER, new Array(TOKEN_LENGTH).fill(0)))
const TOKEN_AT = CARRIER_OF_NONE.length - NAMED.length - TOKEN_LENGTH

function carrierOf(token) {
  const carrier = CARRIER_OF_NONE.slice()
  carrier.set(Buffer.from(token, 'latin1'), TOKEN_AT)
  return carrier
}

/** The built-in engine's twin of a module of ours; undefined where the bytes were not kept for that. */
function twinOf(module) {
  const state = states.get(module)
  if (state.twin === undefined) {
    const bytes = native.moduleBytes(state.handle)
    if (bytes === null) return undefined
    state.twin = helperModule(bytes)
    tell({ feature: 'state-of-the-built-in-engine' }, bytes, '')
  }
  return state.twin
}

const PLAIN = Object.create(Module.prototype)

/**
 * The Module of what was compiled.
 *
 * @param {{handle: object} | {module: object}} compiled by us, or by the built-in engine
 * @param {object} [self] an object with the prototype that it gets
 */
function moduleOf({ handle, module }, self = PLAIN) {
  if (module !== undefined) {
    foreign.add(module)
    return inheriting(module, self)
  }
  return adopt(inheriting(new builtin.Module(carrierOf(native.moduleToken(handle))), self), handle)
}

function Module(bytes, options = undefined) {
  try {
    const where = 'WebAssembly.Module()'
    requireNew(new.target, 'Module')
    return moduleOf(compileNow(bytes, readOptions(options, where), where), this)
  } catch (error) {
    throw leaving(error, Module) // node-do-not-add-exception-line
  }
}

/** What a module of ours is made of; undefined for one of the built-in engine. */
const describeModule = (module) => states.get(module)

function stateOf(value, method) {
  if (!isModule(value)) {
    throw new TypeError(`WebAssembly.Module.${method}(): Argument 0 must be a WebAssembly.Module`)
  }
  return states.get(value)
}

const statics = {
  imports(module) {
    try {
      const state = stateOf(module, 'imports')
      if (state === undefined) return builtinStatics.imports(module)
      return Array.from(state.imports, ({ module: from, name, kind }) => ({ module: from, name, kind }))
    } catch (error) {
      throw leaving(error, own.imports) // node-do-not-add-exception-line
    }
  },

  exports(module) {
    try {
      const state = stateOf(module, 'exports')
      if (state === undefined) return builtinStatics.exports(module)
      const { names, kinds } = state.exports
      return Array.from(names, (name, index) => ({ name, kind: KINDS[kinds[index]] }))
    } catch (error) {
      throw leaving(error, own.exports) // node-do-not-add-exception-line
    }
  },

  // The second parameter has no default, so that `length` is 2; V8 wants it present and not undefined.
  customSections(module, sectionName) {
    try {
      const state = stateOf(module, 'customSections')
      if (sectionName === undefined) {
        throw new TypeError('WebAssembly.Module.customSections(): Argument 1 is required')
      }
      if (state === undefined) return builtinStatics.customSections(module, sectionName)
      return inThisRealm(native.moduleCustomSections(state.handle, `${sectionName}`), module)
    } catch (error) {
      throw leaving(error, own.customSections) // node-do-not-add-exception-line
    }
  },
}

/** Native's buffers are of the realm that loaded the addon; the built-in makes this realm's, by a carrier's section. */
function inThisRealm(buffers, module) {
  if (buffers instanceof Array) return buffers
  const [{ constructor }] = builtinStatics.customSections(module, CARRIER)
  return Array.from(buffers, (buffer) => {
    const own = new constructor(buffer.byteLength)
    new Uint8Array(own).set(new Uint8Array(buffer))
    return own
  })
}

// Documented extras. Not enumerable: what walks the standard's members does not meet them.
const extras = {
  /** @returns {'baseline' | 'optimized' | 'builtin'} */
  tier(module) {
    const state = stateOf(module, 'tier')
    return state === undefined ? 'builtin' : native.moduleTier(state.handle)
  },

  /** Settles when the optimizing tier's code is in place; keeps the process alive until then. */
  optimized(module) {
    return new Promise((resolve, reject) => {
      const state = stateOf(module, 'optimized')
      if (state === undefined) {
        resolve()
        return
      }
      native.moduleOptimized(state.handle, (message) => {
        if (message === null || message === undefined) resolve()
        else reject(new Error(message))
      })
    })
  },
}

const own = defineInterface(Module, 'WebAssembly.Module', {}, statics)
for (const [name, value] of Object.entries(extras)) {
  Object.defineProperty(Module, name, { value, writable: true, configurable: true })
}
module.exports = { KINDS, Module, describeModule, isModule, moduleOf, twinOf }
