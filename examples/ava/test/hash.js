'use strict'

const { createHash } = require('node:crypto')
const test = require('ava').default
const { sha512 } = require('hash-wasm')

test('so do small modules, in another thread', async (t) => {
  t.is(typeof WebAssembly.Module.tier, 'function')
  t.is(await sha512('wasm'), createHash('sha512').update('wasm').digest('hex'))
})
