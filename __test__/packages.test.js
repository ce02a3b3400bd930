'use strict'
// Real packages on every Node, one of each kind of glue code. The others are in packages-once.test.js.

const { gives } = require('./support/packages.js')

gives('esbuild-cli', { cached: 1, command: true })
gives('sqljs', { cached: 1 })
gives('hash-wasm', { cached: 0 })
gives('rollup', { cached: 1 })
gives('yoga', { cached: 0 })
gives('webp', { cached: 2 })
// It tries types of garbage collection, with a module that has nothing else, where the built-in knows them.
const [major] = process.versions.node.split('.')
gives('pyodide', major > 20 ? { cached: 1, fallback: /gc/ } : { cached: 1, slow: true })
gives('gc', { cached: 1, fallback: /gc/, since: 22 })
