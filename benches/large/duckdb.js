'use strict'
// @duckdb/duckdb-wasm: a query over 200,000 rows, on the module that is made with the legacy form of exceptions.

const path = require('node:path')
const duckdb = require('@duckdb/duckdb-wasm/blocking')

const dist = path.dirname(require.resolve('@duckdb/duckdb-wasm'))
const bundle = (kind) => ({
  mainModule: path.join(dist, `duckdb-${kind}.wasm`),
  mainWorker: path.join(dist, `duckdb-node-${kind}.worker.cjs`),
})

async function main() {
  const bundles = { mvp: bundle('mvp'), eh: bundle('eh') }
  const db = await duckdb.createDuckDB(bundles, new duckdb.VoidLogger(), duckdb.NODE_RUNTIME)
  await db.instantiate()
  const rows = db.connect().query('SELECT i % 7 AS k, count(*) AS n, sum(i) AS s FROM range(200000) t(i) GROUP BY k ORDER BY k')
  console.log(rows.toArray().map(({ k, n, s }) => `${k} ${n} ${s}`))
}

main()
