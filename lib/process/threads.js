'use strict'

// Worker threads of a program that installed us have us installed, too: a Module that is posted to one must be usable
// there. A thread inherits what Node was started with; what install() did later, or an execArgv of the program's own
// leaves out, is passed on here.

const path = require('node:path')
const threads = require('node:worker_threads')

const REGISTER = path.join(__dirname, '../register.js') // from dist/

const isOurs = (argument) => argument.includes('wasm-compile-cache/register') || argument.includes(REGISTER)

/** Whether a thread that is given `execArgv` loads us anyway. NODE_OPTIONS counts for all threads. */
const isInherited = (execArgv) => [...execArgv, process.env.NODE_OPTIONS ?? ''].some((argument) => isOurs(`${argument}`))

// A thread takes no program text; its own is elsewhere.
const EVAL = new Set(['-e', '--eval', '-p', '--print', '-pe'])
const inheritable = () => process.execArgv.filter((argument, index, all) => !EVAL.has(argument) && !EVAL.has(all[index - 1]))

/** The arguments that Node names in its refusal: those of V8 and of the process are not for a thread. */
const refused = ({ code, message }) =>
  code === 'ERR_WORKER_INVALID_EXEC_ARGV' ? message.replace(/^.*flags: /, '').split(', ') : []

const original = threads.Worker

/** What `construct` makes of `options` that have the thread load us. */
function withPreload(options, construct) {
  const given = options?.execArgv
  if (given === undefined ? isInherited(process.execArgv) : !Array.isArray(given) || isInherited(given)) {
    return construct(options)
  }
  const preload = ['--require', REGISTER]
  if (given !== undefined) return construct({ ...options, execArgv: [...preload, ...given] })
  const execArgv = [...preload, ...inheritable()]
  try {
    return construct({ ...options, execArgv })
  } catch (error) {
    const flags = refused(error)
    if (flags.length === 0) throw error
    return construct({ ...options, execArgv: execArgv.filter((argument) => !flags.includes(argument)) })
  }
}

// Its instances are Node's, with Node's prototype.
function Worker(filename, options = undefined) {
  // Node's own refuses to be called without `new`.
  if (new.target === undefined) return original(filename, options)
  const target = new.target
  return withPreload(options, (all) => Reflect.construct(original, [filename, all], target))
}
Worker.prototype = original.prototype
Object.setPrototypeOf(Worker, original)

// Node's module, not a copy that a test runner made for a realm of its own.
const isNodes = original instanceof Function

/** Has threads that are started from here on load us. */
function install() {
  if (isNodes && threads.Worker === original) threads.Worker = Worker
}

function uninstall() {
  if (threads.Worker === Worker) threads.Worker = original
}

module.exports = { install, uninstall }
