'use strict'
// What a program that uses sql.js, and knows nothing of this package, sees of WebAssembly, wherever it runs: in a process of
// cluster, in a file of jest or vitest. It is copied beside theirs, too.

const fs = require('node:fs')
const initSqlJs = require('sql.js')

function caught(action) {
  try {
    action()
  } catch (error) {
    return error
  }
  return undefined
}

/** @returns {Promise<{tier: string | undefined, seen: object}>} `seen` is to be the same on either engine */
async function look() {
  const { Module, Instance, CompileError } = WebAssembly
  const bytes = fs.readFileSync(require.resolve('sql.js/dist/sql-wasm.wasm'))
  const { Database } = await initSqlJs()
  const database = new Database()
  database.run("CREATE TABLE word (text TEXT); INSERT INTO word VALUES ('beta'), ('alpha')")
  const { values } = database.exec('SELECT text FROM word ORDER BY text')[0]
  const refused = caught(() => database.run('SELECT nonsense'))
  database.close()

  const module = new Module(bytes)
  const pending = WebAssembly.compile(bytes)
  const isOfThisRealm = [module instanceof Module, module.constructor === Module, pending instanceof Promise]
  isOfThisRealm.push((await pending) instanceof Module, Module.imports(module) instanceof Array)
  const errors = [
    [caught(() => new Module(bytes.subarray(0, 1000))), CompileError],
    [caught(() => new Module(7)), TypeError],
    [caught(() => new Instance(module, {})), TypeError],
  ].map(([error, of]) => [error instanceof of, error instanceof Error, String(error), Object.keys(error)])
  return {
    tier: Module.tier?.(module),
    seen: {
      values,
      refused: [refused instanceof Error, refused.message],
      isOfThisRealm,
      errors,
      text: Object.prototype.toString.call(module),
      exports: Module.exports(module),
      names: Object.getOwnPropertyNames(WebAssembly),
    },
  }
}

module.exports = { look }
