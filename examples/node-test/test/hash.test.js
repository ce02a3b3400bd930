'use strict'

const assert = require('node:assert/strict')
const { createHash } = require('node:crypto')
const { test } = require('node:test')
const { sha256 } = require('hash-wasm')

test('so do small modules, in another process', async () => {
  assert.equal(typeof WebAssembly.Module.tier, 'function')
  assert.equal(await sha256('wasm'), createHash('sha256').update('wasm').digest('hex'))
})
