'use strict'

// The signals of hardware faults, which native handlers turn into traps where wasm caused them. When a program begins
// or stops to listen to one of them, libuv replaces the native handler; here it is put back over libuv's. Only the main
// thread can listen to signals.

const {
  constants: { signals },
} = require('node:os')

const { isMainThread } = require('./thread.js')

const FAULTS = ['SIGBUS', 'SIGFPE', 'SIGILL', 'SIGSEGV']

/** Node has the same listeners, which were there first. libuv acts upon the first listener of a signal, and the last. */
function install(native) {
  if (!isMainThread) return
  for (const event of ['newListener', 'removeListener']) {
    process.on(event, (name) => {
      if (FAULTS.includes(name) && process.listenerCount(name) === 0) native.retakeFault(signals[name])
    })
  }
}

module.exports = { install }
