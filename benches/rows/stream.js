'use strict'

const path = require('node:path')
const { compiling } = require('../columns.js')
const modules = require('../modules.js')

const program = path.join(__dirname, '../programs/stream.js')

module.exports = ['esbuild', 'swc'].flatMap((name) => [
  {
    name: `stream-${name}`,
    title: `${name} at 10 MB/s: last byte to promise`,
    how: 'A `Response` whose body arrives at 10 MB/s in pieces of 64 kB: from its last byte to the resolved promise.',
    columns: compiling,
    args: () => [program, modules[name]()],
    read: (output) => output.ms,
  },
  {
    name: `stream-${name}-eager`,
    title: `${name}, all bytes there: to promise`,
    how: '`compile` of the same bytes, from the call to the resolved promise.',
    columns: compiling,
    args: () => [program, modules[name](), 'eager'],
    read: (output) => output.ms,
    /** What streaming leaves to do after the last byte, as a share of the whole compile. */
    notes(results) {
      const [tail, eager] = [`stream-${name}`, `stream-${name}-eager`].map((key) => results.find((row) => row.name === key))
      return compiling
        .filter(({ key }) => tail?.columns[key] && eager?.columns[key])
        .map(({ key, label }) => {
          const share = (100 * tail.columns[key].median) / eager.columns[key].median
          return `${name} stream, ${label}: after the last byte ${share.toFixed(1)} % of the compile without streaming`
        })
    },
  },
])
