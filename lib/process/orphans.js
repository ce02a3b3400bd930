'use strict'

// Process 1 of the container inherits a finisher (./exit.js), whose parent is gone. An init waits for every process
// that it inherits. A program in its place does not, and each finisher stays in the process table as a zombie for as
// long as the container lives.
//
// Promise: no finisher is started that would stay. Where process 1 is a Node that has loaded this package, it waits for
// the finishers, and for no other children: it knows them by the name that native code gives them. Linux only:
// elsewhere, process 1 is the system's.

const fs = require('node:fs')
const path = require('node:path')

// Never wait for what they have not started: runtimes, what npm makes of a process's name, and what keeps a container
// running. What is none of these is taken for an init: there are many.
const NO_INIT =
  /^(?:node|nodejs|MainThread|npm|yarn|pnpm|bun|deno|electron|python|pypy|gunicorn|uvicorn|ruby|puma|php|perl|java|dotnet|beam\.smp|tail|sleep|cat)(?:$|[\d. ])/

const FINISHER = 'wasm-finisher'

const linux = process.platform === 'linux'

/** Of process 1. A process of another user has no links and no mappings that we could read, but a name. */
function programOf1() {
  try {
    return path.basename(fs.readlinkSync('/proc/1/exe'))
  } catch {
    return fs.readFileSync('/proc/1/comm', 'utf8').trimEnd()
  }
}

/** Whether process 1 has loaded this package's addon. */
function waitsForFinishers() {
  try {
    return /\bwasm-compile-cache\b.*\.node$/m.test(fs.readFileSync('/proc/1/maps', 'latin1'))
  } catch {
    return false
  }
}

/** Whether a process that we leave behind is waited for. */
function areWaitedFor() {
  if (!linux) return true
  // When process 1 ends, all others of the container end with it.
  if (process.pid === 1) return false
  try {
    // /proc may be that of another namespace.
    if (fs.readlinkSync('/proc/self') !== `${process.pid}`) return true
    return !NO_INIT.test(programOf1()) || waitsForFinishers()
  } catch {
    return true
  }
}

/** The finishers that have ended and that nothing else waits for. */
function* ended() {
  for (const pid of fs.readFileSync('/proc/1/task/1/children', 'utf8').split(' ').filter(Boolean)) {
    const [, name, state] = /\((.*)\) (\S)/s.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))
    if (name === FINISHER && state === 'Z') yield Number(pid)
  }
}

/** As process 1, waits for finishers. */
function adopt(native) {
  if (!linux || process.pid !== 1) return
  process.on('SIGCHLD', () => {
    try {
      for (const pid of ended()) native.waitForFinisher(pid)
    } catch {
      // Without /proc they stay.
    }
  })
}

module.exports = { adopt, areWaitedFor }
