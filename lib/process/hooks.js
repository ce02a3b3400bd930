'use strict'

// What is replaced in Node's modules, before a program takes the originals out and keeps them. ../../register.js asks for one
// of these when the program loads that module, ./install.js for both.

const { syncBuiltinESMExports } = require('node:module')

const load = {
  vm: () => require('./vm.js'),
  worker_threads: () => require('./threads.js'),
}

/** @param {string[]} [names] */
function install(names = Object.keys(load)) {
  for (const name of names) load[name]().install()
  syncBuiltinESMExports()
}

function uninstall() {
  for (const name of Object.keys(load)) load[name]().uninstall()
  syncBuiltinESMExports()
}

module.exports = { install, uninstall }
