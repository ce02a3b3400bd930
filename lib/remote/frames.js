'use strict'

// Messages between two processes: the length of a head, the head as JSON, and as many bytes behind it as it says.

function write(stream, head, bytes = Buffer.alloc(0)) {
  const text = Buffer.from(JSON.stringify({ ...head, length: bytes.length }))
  const length = Buffer.alloc(4)
  length.writeUInt32LE(text.length)
  stream.write(Buffer.concat([length, text]))
  if (bytes.length > 0) stream.write(bytes)
}

/** The messages of a stream, each with its `bytes`. */
async function* frames(stream) {
  const parts = []
  let size = 0
  const take = (length) => {
    const all = parts.length === 1 ? parts[0] : Buffer.concat(parts)
    parts.splice(0, parts.length, all.subarray(length))
    size -= length
    return all.subarray(0, length)
  }
  let headLength
  let head
  for await (const chunk of stream) {
    parts.push(chunk)
    size += chunk.length
    for (;;) {
      if (headLength === undefined) {
        if (size < 4) break
        headLength = take(4).readUInt32LE()
      }
      if (head === undefined) {
        if (size < headLength) break
        head = JSON.parse(take(headLength))
      }
      if (size < head.length) break
      const { length, ...rest } = head
      yield { ...rest, bytes: take(length) }
      headLength = head = undefined
    }
  }
}

module.exports = { frames, write }
