'use strict'

const initSqlJs = require('sql.js')

test('SQLite runs on the replacement', async () => {
  expect(typeof WebAssembly.Module.tier).toBe('function')
  const { Database } = await initSqlJs()
  const database = new Database()
  database.run("CREATE TABLE word (text TEXT); INSERT INTO word VALUES ('beta'), ('alpha')")
  expect(database.exec('SELECT text FROM word ORDER BY text')[0].values).toEqual([['alpha'], ['beta']])
  expect(() => database.run('SELECT nonsense')).toThrow(Error)
  database.close()
})

test('errors are of the classes this file knows', async () => {
  const nonsense = new Uint8Array([1, 2, 3, 4])
  await expect(WebAssembly.compile(nonsense)).rejects.toBeInstanceOf(WebAssembly.CompileError)
  await expect(WebAssembly.compile(nonsense)).rejects.toBeInstanceOf(Error)
  expect(() => new WebAssembly.Module()).toThrow(TypeError)
})
