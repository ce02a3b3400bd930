'use strict'

// A program that knows nothing of the cache, nor of where its packages are.

const initSqlJs = require('sql.js')

initSqlJs().then((SQL) => {
  const database = new SQL.Database()
  const [{ values }] = database.exec("SELECT 'SQLite out of ' || ?", [
    /\.zip/.test(require.resolve('sql.js')) ? 'an archive' : 'a folder',
  ])
  console.log(values[0][0])
})
