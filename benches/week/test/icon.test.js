'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { icon } = require('../src/icon.js')

test('the icon has the width that it is asked for', async () => {
  for (const width of [32, 256]) assert.equal(Buffer.from(await icon(width)).readUInt32BE(16), width)
})
