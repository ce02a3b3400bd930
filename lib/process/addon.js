'use strict'

// Loads the native addon, or says why it cannot be loaded: the generated loader blames npm, whatever the cause.

const { named, requests } = require('./addons.js')

/** The errors behind an error, the outermost first. */
function* causes(error) {
  for (let cause = error.cause; cause instanceof Error; cause = cause.cause) yield cause
}

/** Whether Node loads no addons at all. It says so before it looks for the file. */
function areDisabled() {
  try {
    process.dlopen({ exports: {} }, '')
  } catch ({ code }) {
    return code === 'ERR_DLOPEN_DISABLED'
  }
  return false
}

/** What was found, and cannot be loaded: `{file, message}`. */
let unloadable

const NONE = 'wasm-compile-cache has no native addon for Windows: the compilers that it is made of do not exist there'

function missing(error) {
  if (process.platform === 'win32') return NONE
  const platform = `${process.platform}-${process.arch}`
  const broken = unloadable ?? [...causes(error)].find(({ message }) => !message.startsWith('Cannot find module'))
  let found = broken === undefined ? 'it is not installed' : broken.message.split('\n')[0]
  // musl does not say which file it is.
  if (unloadable !== undefined && !found.includes(unloadable.file)) found = `${unloadable.file}: ${found}`
  return (
    `The native addon of wasm-compile-cache for ${platform} cannot be loaded: ${found}. ` +
    'npm leaves it out with --omit=optional, or when node_modules is copied from another platform; ' +
    '`npm rebuild wasm-compile-cache` makes it from source'
  )
}

const SHADOW_STACK =
  'This process has a shadow stack (CET or GCS), under which the code of wasm-compile-cache cannot run; ' +
  'GLIBC_TUNABLES=glibc.cpu.x86_shstk=off runs it without one'

/**
 * The addon where it is usually found, without the generated loader, which looks everywhere and knows why not; that one would
 * not find NAPI_RS_NATIVE_LIBRARY_PATH any more where the program has emptied its environment.
 */
function find() {
  if (named !== undefined) {
    try {
      return require(named)
    } catch (cause) {
      throw new Error(`${named} cannot be loaded`, { cause })
    }
  }
  for (const request of requests) {
    try {
      return require(request)
    } catch ({ code, message }) {
      if (code === 'ERR_DLOPEN_FAILED') unloadable ??= { file: require.resolve(request), message }
      // The next one.
    }
  }
  return undefined
}

function load() {
  let addon
  try {
    addon = find() ?? require('../../binding.js')
  } catch (error) {
    const [code, message] = areDisabled()
      ? [
          'ERR_WASM_ADDONS_DISABLED',
          'wasm-compile-cache is a native addon, and Node loads none (--no-addons, or --permission without --allow-addons)',
        ]
      : ['ERR_WASM_NO_ADDON', missing(error)]
    throw Object.assign(new Error(message, { cause: error }), { code })
  }
  if (addon.refusal === 'shadowStack') throw Object.assign(new Error(SHADOW_STACK), { code: 'ERR_WASM_SHADOW_STACK' })
  return addon
}

module.exports = load()
