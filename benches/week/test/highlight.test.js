'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { test } = require('node:test')
const { highlight } = require('../src/highlight.js')

test('functions, calls and comments are found', async () => {
  const text = fs.readFileSync(require.resolve('web-tree-sitter'), 'utf8')
  const found = await highlight(`// one\nfunction two() { three() }\n${text}`)
  assert.deepEqual(found.slice(0, 3), [
    ['comment', 0, 6],
    ['function', 16, 19],
    ['call', 24, 29],
  ])
})
