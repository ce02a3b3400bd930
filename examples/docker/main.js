'use strict'

// A program that knows nothing of the cache. Its image was built with the code of its modules: see the Dockerfiles.

const initSqlJs = require('sql.js')

async function main() {
  const SQL = await initSqlJs()
  const database = new SQL.Database()
  const [{ values }] = database.exec("SELECT printf('%s, user %d', ?, ?)", ['SQLite', process.getuid()])
  console.log(values[0][0])
}

main()
