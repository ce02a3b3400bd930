'use strict'

// What a terminal gets, and a file does not: colours, and tables without their lines.

const Table = require('cli-table3')
const { createColors } = require('picocolors')

const { formatSize } = require('../cache/quantities.js')

// https://no-color.org: set and not empty.
const colorful = (stream) => stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb'

/** What a program that has us in the built-in's place runs a module on, in words. */
const ENGINES = { ours: 'this engine', builtin: 'the built-in engine' }

const LINES = [
  'top',
  'top-mid',
  'top-left',
  'top-right',
  'bottom',
  'bottom-mid',
  'bottom-left',
  'bottom-right',
  'left',
  'left-mid',
  'mid',
  'mid-mid',
  'right',
  'right-mid',
]
const NO_LINES = { ...Object.fromEntries(LINES.map((name) => [name, ''])), middle: '  ' }

/**
 * @param {string[][]} rows
 * @param {{head?: string[], right?: number[]}} [options] `right`: the columns of numbers
 */
function table(rows, { head = [], right = [] } = {}) {
  const width = rows[0]?.length ?? 0
  const colAligns = Array.from({ length: width }, (_, column) => (right.includes(column) ? 'right' : 'left'))
  const made = new Table({
    head,
    colAligns,
    chars: NO_LINES,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
  })
  made.push(...rows)
  return made
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

const removalText = ({ files, bytes }) => `${files} ${files === 1 ? 'file' : 'files'} removed, ${formatSize(bytes)}`

/** @returns the colours of stdout, and as `error` those of stderr; `interactive`: stderr is a terminal */
const screenFor = ({ json = false }) => ({
  ...createColors(!json && colorful(process.stdout)),
  error: createColors(colorful(process.stderr)),
  interactive: !json && process.stderr.isTTY === true,
})

module.exports = { ENGINES, removalText, screenFor, table }
