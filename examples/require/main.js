'use strict'

// sql.js finds and compiles its module itself, unless it is given an `instantiateWasm`. Here the file is streamed into the
// compiler, and on the second run it is not even read: the code is mapped from the cache.

const path = require('node:path')
const { pathToFileURL } = require('node:url')
const initSqlJs = require('sql.js')
const { Module, instantiateStreaming } = require('wasm-compile-cache')

const file = path.join(path.dirname(require.resolve('sql.js')), 'sql-wasm.wasm')

async function main() {
  let tier
  const SQL = await initSqlJs({
    instantiateWasm(imports, done) {
      instantiateStreaming(pathToFileURL(file), imports).then(({ module, instance }) => {
        tier = Module.tier(module)
        done(instance, module)
      })
      return {}
    },
  })
  const database = new SQL.Database()
  database.run('CREATE TABLE planet (name TEXT, moons INTEGER)')
  database.run("INSERT INTO planet VALUES ('Earth', 1), ('Mars', 2), ('Saturn', 274)")
  const [{ values }] = database.exec('SELECT name, moons FROM planet ORDER BY moons DESC')
  for (const [name, moons] of values) console.log(`${name}: ${moons}`)
  console.log(`SQLite ran in ${tier} code`)
}

main()
