// A handler that knows nothing of the cache: template.yaml loads the package before it.

import initSqlJs from 'sql.js'

// Once for an execution environment, while it starts.
const SQL = await initSqlJs()

export async function handler({ moons }) {
  const database = new SQL.Database()
  try {
    database.run('CREATE TABLE planet (name TEXT, moons INTEGER)')
    database.run("INSERT INTO planet VALUES ('Earth', 1), ('Mars', 2), ('Saturn', 274)")
    const [found] = database.exec('SELECT name FROM planet WHERE moons >= ? ORDER BY moons', [moons])
    return found?.values.flat() ?? []
  } finally {
    database.close()
  }
}
