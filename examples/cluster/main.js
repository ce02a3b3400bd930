'use strict'

// A primary and two workers that share a port. The package is loaded into each worker by its arguments; where the primary
// was itself started with it (by NODE_OPTIONS, or --require), the workers have it without any of this.

const cluster = require('node:cluster')
const { once } = require('node:events')
const http = require('node:http')

const WORKERS = 2

async function worker() {
  const { xxhash64 } = require('hash-wasm')
  const server = http.createServer(async (request, response) => {
    const engine = WebAssembly.Module.tier === undefined ? 'the built-in' : 'wasm-compile-cache'
    response.writeHead(200, { connection: 'close' }).end(`${await xxhash64(request.url)} by ${engine}`)
  })
  server.listen(0, '127.0.0.1', () => process.send(server.address().port))
}

async function primary() {
  const isLoaded = WebAssembly.Module.tier !== undefined
  if (!isLoaded) cluster.setupPrimary({ execArgv: ['--require', 'wasm-compile-cache/register'] })
  const workers = Array.from({ length: WORKERS }, () => cluster.fork())
  const ports = await Promise.all(workers.map((one) => once(one, 'message')))
  for (const [port] of ports) {
    const answer = await fetch(`http://127.0.0.1:${port}/hello`)
    console.log(await answer.text())
  }
  const exits = workers.map((one) => once(one, 'exit'))
  cluster.disconnect()
  for (const [code, signal] of await Promise.all(exits)) console.log(`a worker ended with ${signal ?? code}`)
}

if (cluster.isPrimary) primary()
else worker()
