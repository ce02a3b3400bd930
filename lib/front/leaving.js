'use strict'

// Errors that the built-in made, without frames of ours on the way out: ../api/stack.js does the same for this package's
// engine, and needs it.

const { types } = require('node:util')

const { captureStackTrace } = Error
const { defineProperty, getOwnPropertyDescriptor } = Reflect

const OWN = `(${__dirname}`

const isFrame = (line) => line.startsWith('    at ')

/**
 * Where the program formats stacks itself, it sees the frames that there are.
 *
 * @param {unknown} error
 * @param {Function} fn the function of ours that was called
 */
function leaving(error, fn) {
  if (!types.isNativeError(error)) return error
  if (typeof getOwnPropertyDescriptor(Error, 'prepareStackTrace')?.value === 'function' && !isNodes(Error.prepareStackTrace)) {
    return error
  }
  if (getOwnPropertyDescriptor(error, 'stack')?.configurable !== true) return error
  const { stack } = error
  if (typeof stack !== 'string' || !stack.includes(OWN)) return error
  const lines = stack.split('\n')
  if (lines.find(isFrame)?.includes(OWN)) captureStackTrace(error, fn)
  else {
    const value = lines.filter((line) => !isFrame(line) || !line.includes(OWN)).join('\n')
    defineProperty(error, 'stack', { value, writable: true, enumerable: false, configurable: true })
  }
  return error
}

// Newer versions of Node have a function of their own there.
const prepare = Error.prepareStackTrace
const isNodes = (fn) => fn === prepare

module.exports = { leaving }
