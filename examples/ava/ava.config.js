'use strict'

module.exports = { require: ['wasm-compile-cache/register'] }
