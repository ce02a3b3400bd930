'use strict'

const path = require('node:path')
const { sqljs } = require('../modules.js')

module.exports = {
  name: 'sqljs',
  title: 'sql.js inserts 50,000 rows and queries them',
  modules: () => [sqljs()],
  args: () => [path.join(__dirname, '../programs/sqljs.js')],
}
