'use strict'

// node --require wasm-compile-cache/register, or --import: the whole program on our namespace. A program that cannot have
// it runs on Node's own engine, or without any, as it would without us.

const { warnOfAbsence } = require('./lib/warning.js')

try {
  require('./index.js').install()
} catch (error) {
  warnOfAbsence(error)
}
