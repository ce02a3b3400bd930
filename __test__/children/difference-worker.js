'use strict'
// One of the two worker threads of difference.js: runs a mode on a module that it gets, and tells the difference, if any.

const { parentPort } = require('node:worker_threads')
const { Life } = require('../difference/life.js')
const { Difference, MODES, compare } = require('../difference/modes.js')
const W = require('../../index.js')

parentPort.on('message', async ({ mode, module, seed, expected, at }) => {
  let difference
  try {
    await MODES[mode].run({
      module,
      live: () => new Life(W, module, seed).steps(),
      check: (transcript, life) => compare(expected, transcript, life),
      at,
    })
  } catch (error) {
    if (!(error instanceof Difference)) throw error
    difference = error.message
  }
  parentPort.postMessage(difference)
})
