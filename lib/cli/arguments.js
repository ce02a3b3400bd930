'use strict'

// Readers of arguments, for commander.

const { InvalidArgumentError } = require('commander')

const { parseAge, parseSize } = require('../cache/quantities.js')

const reader = (parse, example) => (text) => {
  const value = parse(text)
  if (value === undefined) throw new InvalidArgumentError(`Write it like ${example}.`)
  return value
}

module.exports = {
  parsedAge: reader(parseAge, '12h or 30d'),
  parsedSize: reader(parseSize, '64k, 500M or 2G'),
}
