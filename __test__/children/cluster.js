'use strict'
// A primary and two workers of cluster, each of which looks at WebAssembly (./look.js). Prints what they saw, the primary's
// first.

const cluster = require('node:cluster')
const { once } = require('node:events')
const { look } = require('./look.js')

async function primary() {
  const all = [await look()]
  const workers = [cluster.fork(), cluster.fork()]
  for (const told of await Promise.all(workers.map((one) => once(one, 'message')))) all.push(told[0])
  const exits = workers.map((one) => once(one, 'exit'))
  cluster.disconnect()
  const ends = await Promise.all(exits)
  console.log(JSON.stringify({ all, ends }))
}

if (cluster.isPrimary) primary()
else look().then((told) => process.send(told))
