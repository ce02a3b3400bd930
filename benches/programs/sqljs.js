'use strict'
// sql.js, once: 50,000 inserts, five queries, the database file.

async function main() {
  const SQL = await require('sql.js')()
  const db = new SQL.Database()
  db.run(
    'CREATE TABLE part (id INTEGER PRIMARY KEY, maker INTEGER, name TEXT, price REAL); CREATE INDEX by_maker ON part (maker, price); BEGIN'
  )
  const insert = db.prepare('INSERT INTO part (maker, name, price) VALUES (?, ?, ?)')
  let seed = 1
  for (let i = 0; i < 50_000; i++) {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
    insert.run([(seed >>> 16) % 500, `part ${seed.toString(36)}`, seed / 7919])
  }
  insert.free()
  db.run('COMMIT')
  const queries = [
    'SELECT maker, count(*), sum(price), avg(price) FROM part GROUP BY maker ORDER BY 3 DESC',
    "SELECT count(*) FROM part WHERE name LIKE '%z9%'",
    'SELECT a.maker, count(*) FROM part a JOIN part b ON a.maker = b.maker AND a.price < b.price WHERE a.id < 2000 GROUP BY a.maker',
    'SELECT name, row_number() OVER (PARTITION BY maker ORDER BY price) FROM part ORDER BY name LIMIT 100',
    'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT sum(i % 7) FROM n',
  ]
  for (const query of queries) console.log(JSON.stringify(db.exec(query)))
  console.log(require('node:crypto').createHash('sha256').update(db.export()).digest('hex'))
}

main()
