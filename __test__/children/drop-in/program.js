'use strict'
// node program.js <module> [how]: a program that knows nothing of this package. Prints what it saw, in JSON.
//
// how   'worker'    in a worker thread, with this thread's arguments for Node
//       'bare'      in a worker thread, with none
//       'register'  in a worker thread, with `--require` and $REGISTER
//       'fork'      in a forked process
//       'cluster'   in two workers of a cluster

const childProcess = require('node:child_process')
const cluster = require('node:cluster')
const { once } = require('node:events')
const fs = require('node:fs')
const { isMainThread, parentPort, Worker } = require('node:worker_threads')

const { engine, outcome } = require('./outcome.js')

const [, , file, how] = process.argv

const see = () => outcome(WebAssembly, new Uint8Array(fs.readFileSync(file)))

const thread = (options) => once(new Worker(__filename, { argv: [file], ...options }), 'message').then(([message]) => message)

const ways = {
  worker: () => thread({}),
  bare: () => thread({ execArgv: [] }),
  register: () => thread({ execArgv: ['--require', process.env.REGISTER] }),
  fork: () => once(childProcess.fork(__filename, [file]), 'message').then(([message]) => message),
  async cluster() {
    cluster.setupPrimary({ args: [file] })
    const workers = [cluster.fork(), cluster.fork()]
    const told = await Promise.all(workers.map((worker) => once(worker, 'message')))
    cluster.disconnect()
    return told.map(([message]) => message)
  },
}

async function main() {
  if (!isMainThread) parentPort.postMessage(await see())
  else if (process.send !== undefined && how === undefined) {
    process.send(await see(), () => cluster.isPrimary && process.disconnect())
  } else console.log(JSON.stringify({ here: engine(WebAssembly), seen: how === undefined ? await see() : await ways[how]() }))
}

main()
