'use strict'

// The environment as it was when this package was loaded (../../index.js, ../../register.js): programs may empty it before they
// use WebAssembly, as esbuild's command does.

const started = process[Symbol.for('wasm-compile-cache.started')]

/** @type {{environment: Record<string, string>, directory?: string}} `directory`: WASM_COMPILE_CACHE, made absolute */
module.exports = started ?? { environment: { ...process.env } }
