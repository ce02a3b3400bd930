'use strict'

// The thread that reaches the remote cache: it takes orders of native code, whichever thread of the process has given them, and
// answers. Nothing waits for it, and it keeps no process.
//
// Promise: each order gets one answer, and each failure one event, until the remote is left alone (./away.js), which is said.

const os = require('node:os')
const { parentPort, workerData } = require('node:worker_threads')

try {
  // Of this thread alone, on Linux: the program and its compilers go first.
  if (process.platform === 'linux') os.setPriority(0, 5)
} catch {
  // Then it competes with them.
}

const native = require('../process/addon.js')
const { Away } = require('./away.js')
const { Claims } = require('./claims.js')
const { Remote } = require('./remote.js')

const { settings, environment, owner } = workerData

/** Answers everything with what keeps it from being reached. */
function refuseAll(error) {
  parentPort.postMessage({ message: error.message, code: error.code })
  const refuse = () => Promise.reject(error)
  return { has: refuse, get: refuse, put: refuse }
}

function reach() {
  try {
    const remote = new Remote(settings, native, environment)
    return { remote, claims: new Claims(remote, owner) }
  } catch (error) {
    return { remote: refuseAll(error) }
  }
}

const { remote, claims } = reach()
const away = new Away(native.cacheStatus().root)

/** What is being done with each key, one after the other. */
const busy = new Map()

/** Keys of objects that are not to be used: what is sent takes their place. */
const refused = new Set()

const receive = ({ id, key }, object) => {
  away.succeeded()
  if (object === undefined) native.remoteAnswer(id, 'absent')
  else if (!native.remoteReceive(id, object, remote.trusted)) refused.add(key)
}

const TASKS = {
  async get(order) {
    receive(order, await remote.get(order.key, () => native.remoteAnswer(order.id, 'there')))
  },

  async claim(order) {
    const object = await (claims?.wait(order.key, order.size, settings.writes) ?? remote.get(order.key))
    if (object === undefined) native.remoteAnswer(order.id, 'silent')
    else receive(order, object)
  },

  async put({ id, key }) {
    const sent = await remote.put(key, refused.has(key))
    refused.delete(key)
    away.succeeded()
    await claims?.release(key)
    if (sent === 0) native.remoteAnswer(id, 'silent')
    else native.remoteAnswer(id, 'sent', sent)
  },

  async release({ id, key }) {
    await claims?.release(key)
    native.remoteAnswer(id, 'silent')
  },
}

async function run(order) {
  const { id, task } = order
  if (away.isAway()) {
    native.remoteAnswer(id, 'silent')
    return
  }
  try {
    await TASKS[task](order)
  } catch (error) {
    const isLast = away.failed()
    native.remoteAnswer(id, 'failed', isLast ? `${error.message}; it is left alone for a minute` : error.message)
  }
}

function take(orders) {
  for (const order of orders) {
    const { key } = order
    const before = busy.get(key) ?? Promise.resolve()
    const now = before.then(() => run(order))
    busy.set(key, now)
    now.then(() => {
      if (busy.get(key) === now) busy.delete(key)
    })
  }
  native.remoteNext(take)
}

native.remoteNext(take)
