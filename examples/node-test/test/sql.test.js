'use strict'

const assert = require('node:assert/strict')
const { test } = require('node:test')
const initSqlJs = require('sql.js')

test('SQLite runs on the replacement', async () => {
  assert.equal(typeof WebAssembly.Module.tier, 'function')
  const { Database } = await initSqlJs()
  const database = new Database()
  assert.deepEqual(database.exec('SELECT 6 * 7')[0].values, [[42]])
  database.close()
})

test('errors are those of the global', async () => {
  await assert.rejects(WebAssembly.compile(new Uint8Array([1, 2, 3, 4])), WebAssembly.CompileError)
})
