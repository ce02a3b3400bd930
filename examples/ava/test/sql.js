'use strict'

const { isMainThread } = require('node:worker_threads')
const test = require('ava').default
const initSqlJs = require('sql.js')

test('SQLite runs on the replacement, in a worker thread', async (t) => {
  t.false(isMainThread)
  t.is(typeof WebAssembly.Module.tier, 'function')
  const { Database } = await initSqlJs()
  const database = new Database()
  t.deepEqual(database.exec('SELECT 6 * 7')[0].values, [[42]])
  database.close()
})

test('errors are those of the global', async (t) => {
  await t.throwsAsync(WebAssembly.compile(new Uint8Array([1, 2, 3, 4])), { instanceOf: WebAssembly.CompileError })
})
