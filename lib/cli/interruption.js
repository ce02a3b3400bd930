'use strict'

// Commands that put something in order before a signal ends them: the screen, or the disk.

const SIGNALS = ['SIGINT', 'SIGTERM']

/**
 * Does `work`, which gets an AbortSignal that Ctrl-C and SIGTERM abort, and is to be over soon then.
 *
 * @param {(aborted: AbortSignal) => Promise<object>} work
 * @returns {Promise<object>} what it gives for the command's result, and `signal`: the one that came, or null
 */
async function interruptible(work) {
  const controller = new AbortController()
  let signal = null
  const stop = (name) => {
    signal = name
    controller.abort()
  }
  for (const name of SIGNALS) process.on(name, stop)
  try {
    const result = await work(controller.signal)
    return { ...result, signal }
  } finally {
    for (const name of SIGNALS) process.off(name, stop)
  }
}

module.exports = { interruptible }
