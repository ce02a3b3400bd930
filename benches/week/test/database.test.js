'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const { report } = require('../src/database.js')

test('a report has a row for each month, the best first', async () => {
  const rows = await report(12_000)
  assert.equal(rows.length, 12)
  assert.ok(rows.every(([, count]) => count === 1000))
  assert.deepEqual(
    rows.map(([, , sum]) => sum),
    rows.map(([, , sum]) => sum).sort((a, b) => b - a)
  )
})
