'use strict'

// node --require wasm-compile-cache/register, or --import: the whole program on our namespace.

require('./index.js').install()
