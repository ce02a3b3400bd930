'use strict'
// sql.js: a schema, ten thousand inserts, queries (floats, text, blobs, a JavaScript function called
// from SQL), and the database file.

const { run } = require('./loop.js')

run(async () => {
  const SQL = await require('sql.js')()
  return async () => {
    const db = new SQL.Database()
    db.create_function('weigh', (name, price) => name.length * price)
    db.run(`
      CREATE TABLE maker (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
      CREATE TABLE part (id INTEGER PRIMARY KEY, maker REFERENCES maker, name TEXT, price REAL, image BLOB);
      CREATE INDEX part_by_price ON part (price DESC, name);
    `)
    db.run('BEGIN')
    for (let i = 0; i < 100; i++) db.run('INSERT INTO maker VALUES (?, ?)', [i, `maker ${i}`])
    const insert = db.prepare('INSERT INTO part (maker, name, price, image) VALUES (?, ?, ?, ?)')
    let seed = 1
    for (let i = 0; i < 10_000; i++) {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
      insert.run([seed % 100, `part ${seed.toString(36)} é`, seed / 7919, new Uint8Array([i, seed, seed >>> 8, seed >>> 16])])
    }
    insert.free()
    db.run('COMMIT')
    const outputs = [
      'SELECT m.name, count(*), sum(p.price), avg(p.price), min(p.name) FROM part p JOIN maker m ON m.id = p.maker GROUP BY m.id ORDER BY 3 DESC',
      'SELECT id, name, weigh(name, price) FROM part ORDER BY weigh(name, price) DESC LIMIT 200',
      "SELECT hex(image), upper(name), printf('%.9e', price), round(price, 3) FROM part WHERE name LIKE '%9z%' ORDER BY id",
      'WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT sum(i * i), total(1.0 / i) FROM n',
      'SELECT name, row_number() OVER (PARTITION BY maker ORDER BY price), lag(price) OVER (ORDER BY id) FROM part ORDER BY id LIMIT 500',
    ].map((query) => JSON.stringify(db.exec(query)))
    try {
      db.run("INSERT INTO maker VALUES (1, 'again')")
    } catch (error) {
      outputs.push(error.message)
    }
    outputs.push(db.export())
    db.close()
    return outputs
  }
})
