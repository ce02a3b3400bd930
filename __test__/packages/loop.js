'use strict'
// The frame of every driver: does the package's work once (or LOOPS times), checks that each
// round gives the same bytes, and prints one line of JSON.
//
// LOOPS=n     n rounds.
// LOOPS=swap  rounds until every module this run compiled has reached the optimizing tier (and,
//             where it is cached, lies in the cache), and two more: the swap happens in the middle
//             of the work. The work itself is what passes the time; nobody sleeps.

const { createHash } = require('node:crypto')
const fs = require('node:fs')
const { readEvents, isSettled } = require('./events.js')

/** sha256 over all outputs, each preceded by its length, so that none can run into the next. */
function digestOf(outputs) {
  const hash = createHash('sha256')
  for (const output of outputs) {
    const bytes = typeof output === 'string' ? Buffer.from(output) : output
    hash.update(`${bytes.byteLength}:`).update(bytes)
  }
  return hash.digest('hex')
}

function rounds() {
  const text = process.env.LOOPS ?? '1'
  if (text === 'swap') {
    let after = 0
    return () => (isSettled(readEvents(process.env.EVENTS)) ? after++ < 2 : true)
  }
  let left = Number(text)
  return () => left-- > 0
}

/**
 * @param {() => Promise<() => Promise<Array<string | Uint8Array>>>} prepare loads the package and
 *   returns one round of work
 */
async function drive(prepare) {
  const work = await prepare()
  const again = rounds()
  let digest
  let loops = 0
  let outputs
  while (again()) {
    outputs = await work()
    const now = digestOf(outputs)
    loops++
    if (digest !== undefined && now !== digest) {
      throw new Error(`round ${loops} gave ${now}, the ones before gave ${digest}`)
    }
    digest = now
    // A turn of the event loop: synchronous work would keep the events waiting.
    await new Promise((resolve) => setImmediate(resolve))
  }
  const bytes = outputs.reduce((sum, output) => sum + output.length, 0)
  fs.writeSync(1, JSON.stringify({ digest, loops, outputs: outputs.length, bytes }) + '\n') // finish() may exit at once
}

/** @param {(() => void) | undefined} finish what lets the process end; its exit code is set */
function run(prepare, finish) {
  drive(prepare)
    .catch((error) => {
      console.error(error)
      process.exitCode = 1
    })
    .then(finish)
}

module.exports = { run, digestOf }
