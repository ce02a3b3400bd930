import initSqlJs from 'sql.js'
import { expect, test } from 'vitest'

test('SQLite runs on the replacement', async () => {
  expect(typeof WebAssembly.Module.tier).toBe('function')
  const { Database } = await initSqlJs()
  const database = new Database()
  expect(database.exec('SELECT 6 * 7')[0].values).toEqual([[42]])
  database.close()
})
