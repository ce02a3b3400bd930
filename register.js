'use strict'

// node --require wasm-compile-cache/register, or --import: the whole program on our namespace. A program that cannot have
// it runs on Node's own engine, or without any, as it would without us: on Windows, which has no addon, every program.
//
// Promise: until the program touches WebAssembly, this file is all that is loaded. What stands in the place of
// globalThis.WebAssembly until then is the namespace that ./lib/api/namespace.js fills; its members are accessors.

const { apply, defineProperty, getOwnPropertyDescriptor, ownKeys } = Reflect

const STARTED = Symbol.for('wasm-compile-cache.started')
const REALM = Symbol.for('wasm-compile-cache.realm')

// As in ./lib/api/namespace.js: what is ours, and what is left out. The rest is the built-in's.
const REPLACED = [
  'compile',
  'validate',
  'instantiate',
  'compileStreaming',
  'instantiateStreaming',
  'Module',
  'Instance',
  'Table',
  'Memory',
  'Global',
  'Tag',
]
const LEFT_OUT = ['Suspending', 'promising', 'SuspendError']

const builtin = globalThis.WebAssembly
const { prepareStackTrace } = Error // Node's own, in newer versions
const Module = module.constructor

const engine = (name) => require('./dist/engine.js').load(name)

const ENGINES = ['auto', 'ours', 'builtin']

/** What stands in the built-in's place: as the user says, or as it is known of each module. */
function wanted() {
  const { WASM_COMPILE_CACHE_ENGINE: given, WASM_COMPILE_CACHE_ONLY: only } = process.env
  if (ENGINES.includes(given)) return given
  if (given) {
    const message = `WASM_COMPILE_CACHE_ENGINE is none of ${ENGINES.join(', ')}: ${given}. It is ignored`
    process.emitWarning(message, { type: 'WasmCompileCacheWarning', code: 'ERR_WASM_ENGINE' })
  }
  return only === '1' ? 'ours' : 'auto'
}

function warn(error) {
  try {
    engine('events/warning.js').warnOfAbsence(error)
  } catch {
    process.emitWarning(error.message)
  }
}

/** Everything at once. */
function install() {
  try {
    engine('api.js').install()
  } catch (error) {
    warn(error)
  }
}

/** Whether nobody else has replaced it, or what is in it. */
function isNodes(namespace) {
  const constructor = getOwnPropertyDescriptor(namespace, 'Module')?.value
  return typeof constructor === 'function' && apply(Function.prototype.toString, constructor, []).includes('[native code]')
}

/** Whether Node's own JavaScript asks, whose HTTP parser is a module, too: that is nothing of the program's. */
function isAskedByNode() {
  if (Error.prepareStackTrace !== prepareStackTrace) return false
  const { stackTraceLimit } = Error
  Reflect.set(Error, 'stackTraceLimit', 3)
  const { stack } = new Error()
  Reflect.set(Error, 'stackTraceLimit', stackTraceLimit)
  return stack.includes('node:internal/deps/')
}

/**
 * Installs what becomes our namespace when it is first used.
 *
 * @param {boolean} isAuto
 * @returns {() => boolean} whether it still is installed
 */
function wait(isAuto) {
  const namespace = {}
  const record = { original: builtin, builtin, installed: [namespace], compiles: true, isAuto, front: undefined }
  if (isAuto) record.front = namespace
  else record.waiting = { namespace, from: __dirname }
  let isLoading = false

  const load = () => {
    isLoading = true
    try {
      if (isAuto) require('./dist/front.js').load('front/namespace.js').fill(namespace)
      else engine('api.js')
    } catch (error) {
      for (const name of ownKeys(namespace)) defineProperty(namespace, name, getOwnPropertyDescriptor(builtin, name))
      record.installed = record.installed.filter((one) => one !== namespace)
      if (globalThis.WebAssembly === namespace) globalThis.WebAssembly = builtin
      warn(error)
    }
    isLoading = false
  }

  for (const name of ownKeys(builtin)) {
    if (LEFT_OUT.includes(name) && !isAuto) continue
    const property = getOwnPropertyDescriptor(builtin, name)
    if (!REPLACED.includes(name) && !(isAuto && name === 'Suspending')) {
      defineProperty(namespace, name, property)
      continue
    }
    defineProperty(namespace, name, {
      get() {
        if (isLoading || isAskedByNode()) return builtin[name]
        load()
        return namespace[name]
      },
      set(value) {
        load()
        Reflect.set(namespace, name, value, this)
      },
      enumerable: property.enumerable,
      configurable: true,
    })
  }
  defineProperty(globalThis, REALM, { value: record })
  defineProperty(globalThis, 'WebAssembly', { value: namespace, writable: true, enumerable: false, configurable: true })
  return () => record.installed.includes(namespace)
}

/**
 * Replaces what a program takes out of these modules, before it does: ./lib/process/hooks.js.
 *
 * @param {() => boolean} isInstalled
 * @param {boolean} isAuto
 */
function watch(isInstalled, isAuto) {
  const names = new Set(['vm', 'worker_threads'])
  // Process 1 waits for what its children leave behind (./lib/process/orphans.js).
  if (process.pid === 1 && !isAuto) names.add('child_process').add('cluster')
  const hook = (name) => {
    names.delete(name)
    try {
      if (!isInstalled()) return
      if (name === 'vm' || name === 'worker_threads') require('./dist/hooks.js').install([name])
      else engine('api.js')
    } catch (error) {
      warn(error)
    }
  }
  let isMain = process._eval !== undefined
  for (const name of names) if (process.moduleLoadList?.includes(`NativeModule ${name}`)) hook(name)
  const original = Module._load
  function _load(request, parent, main) {
    if (main) isMain = true
    const name = typeof request === 'string' && request.startsWith('node:') ? request.slice(5) : request
    // Not for what is loaded by that.
    if (names.has(name) && parent?.path !== `${__dirname}/dist`) hook(name)
    if (names.size === 0 && Module._load === _load) Module._load = original
    return apply(original, this, arguments)
  }
  Module._load = _load
  // The imports of an ES module are not seen there; none has been followed yet.
  Promise.resolve().then(() => {
    if (!isMain) names.forEach(hook)
  })
}

// The environment may be another one by the time that WebAssembly is used.
if (process[STARTED] === undefined) {
  const environment = { ...process.env }
  const directory = environment.WASM_COMPILE_CACHE && require('node:path').resolve(environment.WASM_COMPILE_CACHE)
  defineProperty(process, STARTED, { value: { environment, directory } })
}

if (typeof builtin === 'object' && builtin !== null && process.platform !== 'win32') {
  const choice = wanted()
  // A trace is to be of everything.
  if (process.env.WASM_COMPILE_CACHE_TRACE || globalThis[REALM] !== undefined || !isNodes(builtin) || Module._load === undefined) {
    install()
  } else {
    watch(wait(choice !== 'ours'), choice !== 'ours')
  }
}
