'use strict'

const path = require('node:path')
const { sqljs } = require('../modules.js')

module.exports = {
  name: 'sqljs',
  title: 'sql.js inserts 50,000 rows and queries them',
  how: 'A fresh process that fills a database in memory and runs five queries, from its start to its end. All columns give the same output.',
  modules: () => [sqljs()],
  args: () => [path.join(__dirname, '../programs/sqljs.js')],
}
