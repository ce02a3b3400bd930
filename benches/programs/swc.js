'use strict'
// @swc/wasm, once: a file of 89 kB down to ES5, minified.

const { readFileSync } = require('node:fs')
const { transformSync } = require('@swc/wasm')

const source = readFileSync(require.resolve('esbuild-wasm/lib/main.js'), 'utf8')
const options = { swcrc: false, minify: true, jsc: { target: 'es5', minify: { compress: true, mangle: true } } }
process.stdout.write(transformSync(source, options).code)
