'use strict'
// Real packages on the oldest Node and the newest: what asks most of V8 and Node. The others are in packages-once.test.js.

const { gives } = require('./support/packages.js')

gives('sqljs', { cached: 1 })
gives('hash-wasm', { cached: 0 })
gives('yoga', { cached: 0 })
// It tries types of garbage collection, with a module that has nothing else, where the built-in knows them.
const [major] = process.versions.node.split('.')
gives('pyodide', { cached: 1, slow: true, ...(major > 20 && { fallback: /gc/ }) })
gives('gc', { cached: 1, fallback: /gc/, since: 22 })
gives('dart', { cached: 0, fallback: /js-string-builtins/, since: 22 })
