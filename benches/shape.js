'use strict'
// node benches/shape.js <port>: a line to a server of this machine that carries 10 MB/s, and takes 25 ms in each direction. Prints
// its own port. The kernel's way (netem) is a module that not every machine has.

const net = require('node:net')

const RATE = 10e6 // bytes a second
const DELAY = 25 // ms
const PIECE = 16 << 10

const port = Number(process.argv[2])

/** Passes on what `from` gives, piece by piece: each when it has come through. */
function carry(from, to) {
  let free = 0
  from.on('data', (chunk) => {
    for (let at = 0; at < chunk.length; at += PIECE) {
      const piece = chunk.subarray(at, at + PIECE)
      const now = performance.now()
      free = Math.max(free, now) + (1e3 * piece.length) / RATE
      setTimeout(() => to.write(piece), free - now + DELAY)
    }
  })
  from.on('end', () => setTimeout(() => to.end(), Math.max(0, free - performance.now()) + DELAY + 1))
  from.on('error', () => to.destroy())
  to.on('error', () => from.destroy())
}

const server = net.createServer({ allowHalfOpen: true }, (near) => {
  const far = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  carry(near, far)
  carry(far, near)
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
