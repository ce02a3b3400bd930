import initSqlJs from 'sql.js'
import { expect, test } from 'vitest'
import wasm from 'wasm-compile-cache'

test('SQLite runs on the replacement', async () => {
  expect(WebAssembly).toBe(wasm.WebAssembly)
  const { Database } = await initSqlJs()
  const database = new Database()
  expect(database.exec('SELECT 6 * 7')[0].values).toEqual([[42]])
  database.close()
})
