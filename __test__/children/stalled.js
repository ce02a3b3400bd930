'use strict'
// instantiateStreaming with a body that stalls: node stalled.js '{"engine", "bytes", "rest", "fallback"}', the bytes in
// base64. What it says goes to stdout, line by line. Once nothing keeps the process alive, `rest` comes, if there is one.
// Exports the promise of the end.

const { engine, bytes, rest, fallback } = JSON.parse(process.argv[2])
const W = engine === 'builtin' ? WebAssembly : require('../../index.js')

let controller
const body = new ReadableStream({
  start(given) {
    controller = given
    if (bytes !== undefined) controller.enqueue(Buffer.from(bytes, 'base64'))
  },
})

process.once('beforeExit', () => {
  console.log('nothing to do')
  if (rest === undefined) return
  if (rest !== '') controller.enqueue(Buffer.from(rest, 'base64'))
  controller.close()
})

const source = new Response(body, { headers: { 'content-type': 'application/wasm' } })
module.exports = W.instantiateStreaming(source, {}, { fallback }).then(
  ({ instance }) => console.log(`answer ${instance.exports.answer()}`),
  ({ name }) => console.log(name)
)
