'use strict'

// Where the native addon may be: named by the user, in a checkout or a build from source, or in the platform's package. Which C
// library Linux has, takes longer to find out than to try.

const { environment } = require('./started.js')

const { arch, platform } = process

const names = platform === 'linux' ? [`linux-${arch}-gnu`, `linux-${arch}-musl`] : [`${platform}-${arch}`]

/** The file that the user names; undefined where there is none. */
const named = environment.NAPI_RS_NATIVE_LIBRARY_PATH || undefined

/** What `require` takes, from dist/. */
const requests = names.flatMap((name) => [`../wasm-compile-cache.${name}.node`, `wasm-compile-cache-${name}`])

module.exports = { named, requests }
