'use strict'

const initSqlJs = require('sql.js')

/** What a shop sold, by month: the rows of a query over a database that is filled first. */
async function report(sales) {
  const { Database } = await initSqlJs()
  const database = new Database()
  database.run('CREATE TABLE sale (month INTEGER, product TEXT, price REAL); CREATE INDEX by_month ON sale (month, price)')
  database.run('BEGIN')
  const insert = database.prepare('INSERT INTO sale VALUES (?, ?, ?)')
  for (let i = 0; i < sales; i++) insert.run([(i * 7) % 12, `product ${(i * 31) % 97}`, ((i * 131) % 1000) / 10])
  insert.free()
  database.run('COMMIT')
  const [{ values }] = database.exec(
    'SELECT month, count(*), sum(price), max(product) FROM sale GROUP BY month ORDER BY sum(price) DESC, month'
  )
  database.close()
  return values
}

module.exports = { report }
