'use strict'

const path = require('node:path')
const { uncached } = require('../columns.js')

const program = path.join(__dirname, '../programs/small-modules.js')

const ways = { distinct: 'which differ', same: 'of the same bytes', async: 'which differ, by instantiate()' }

/** What a module and its instance take, thousands of times in a process. */
module.exports = Object.entries(ways).flatMap(([way, which]) =>
  [
    ['time', 'µs', ({ us }) => us],
    ['memory', 'kB', ({ bytes }) => bytes / 1000],
  ].map(([what, unit, read]) => ({
    name: `small-modules-${way}-${what}`,
    title: `${what} of a small module, ${which}`,
    how: '3,000 modules of some 40 bytes, each compiled, instantiated, called and dropped; the time or the growth of the process, by module.',
    unit,
    columns: uncached,
    args: () => [program, way],
    read,
  }))
)
