'use strict'

// What licences the code has that this process runs: `licences` of ../../index.js, and a line of the command line's doctor.

const path = require('node:path')

const { others } = require('../../THIRD-PARTY.json')
const { hasSinglepass } = require('./addon.js')

const CODE = 'MIT OR Apache-2.0'
const SINGLEPASS = 'BUSL-1.1'

/** Of the package, of the addon that is loaded, and what in them is neither MIT nor Apache-2.0. */
function licences() {
  const singlepass = hasSinglepass()
  return Object.freeze({
    package: CODE,
    addon: singlepass ? `(${CODE}) AND ${SINGLEPASS}` : CODE,
    singlepass,
    others: Object.freeze(
      others
        .filter(({ onlyWith }) => singlepass || onlyWith === undefined)
        .map(({ kind, name, version, license }) => Object.freeze({ kind, name, version, license }))
    ),
    notices: path.join(__dirname, '../THIRD-PARTY.md'),
  })
}

module.exports = { licences }
