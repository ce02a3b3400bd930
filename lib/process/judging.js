'use strict'

// The start of ./judge.js.

const path = require('node:path')

const { locate } = require('../front/folder.js')
const { startDetached } = require('./detached.js')
const { areWaitedFor } = require('./orphans.js')
const { mayHandOff } = require('./permission.js')
const { environment } = require('./started.js')

const JUDGE = path.join(__dirname, 'judge.js')

const mayJudge = () => mayHandOff() && areWaitedFor()

/** Soon, when the machine has nothing else to do; or `now`, as WASM_COMPILE_CACHE_FINISH may say. */
function startJudge() {
  const isNow = environment.WASM_COMPILE_CACHE_FINISH === 'now'
  startDetached(JUDGE, isNow ? ['now'] : [], { WASM_COMPILE_CACHE: locate().root }, !isNow)
}

module.exports = { mayJudge, startJudge }
