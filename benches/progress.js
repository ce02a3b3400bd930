'use strict'
// One line on stderr that says where we are: rewritten on a terminal, one line a row elsewhere.

const terminal = process.stderr.isTTY
const started = performance.now()

function progress(text) {
  if (terminal) process.stderr.write(`\r\x1b[K${elapsed()} ${text}`)
}

function line(text) {
  process.stderr.write(`${terminal ? '\r\x1b[K' : ''}${elapsed()} ${text}\n`)
}

function elapsed() {
  const seconds = Math.round((performance.now() - started) / 1000)
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`
}

module.exports = { line, progress }
