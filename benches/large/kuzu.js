'use strict'
// kuzu-wasm: a graph, and a query of it.

const kuzu = require('kuzu-wasm/nodejs/sync')

async function main() {
  await kuzu.init()
  const connection = new kuzu.Connection(new kuzu.Database(''))
  const query = (text) => connection.query(text).getAllRows()
  query('CREATE NODE TABLE Part(name STRING, price INT64, PRIMARY KEY(name))')
  query('CREATE REL TABLE Uses(FROM Part TO Part, count INT64)')
  query("CREATE (a:Part {name: 'a', price: 3}), (b:Part {name: 'b', price: 5}), (a)-[:Uses {count: 2}]->(b)")
  console.log(query('MATCH (a:Part)-[u:Uses]->(b:Part) RETURN a.name, b.name, u.count * b.price'))
}

main()
