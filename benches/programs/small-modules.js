'use strict'
// small-modules.js distinct|same|async: microseconds and bytes a module, compiled, instantiated, called and dropped. The
// modules are as small as those of just-in-time compilers: `distinct` and `async` ones differ in a constant.

const COUNT = 3000
const PAUSES = 30

const leb128 = (value) => (value < 64 ? [value] : [(value & 127) | 128, ...leb128(value >> 7)])

/** (module (func (export "f") (result i32) i32.const `k`)) */
function bytesOf(k) {
  const body = [0, 0x41, ...leb128(k), 0x0b]
  return new Uint8Array([
    0,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    1,
    5,
    1,
    0x60,
    0,
    1,
    0x7f,
    3,
    2,
    1,
    0,
    7,
    5,
    1,
    1,
    0x66,
    0,
    0,
    10,
    body.length + 2,
    1,
    body.length,
    ...body,
  ])
}

async function main(how) {
  const make = (bytes) => new WebAssembly.Instance(new WebAssembly.Module(bytes))
  const rss = process.memoryUsage.rss()
  const started = performance.now()
  let sum = 0
  for (let i = 0; i < COUNT; i++) {
    const bytes = bytesOf(how === 'same' ? 7 : i)
    const instance = how === 'async' ? (await WebAssembly.instantiate(bytes)).instance : make(bytes)
    sum += instance.exports.f()
    if (i % (COUNT / PAUSES) === 0) await new Promise(setImmediate)
  }
  const us = ((performance.now() - started) * 1000) / COUNT
  if (sum !== (how === 'same' ? 7 * COUNT : (COUNT * (COUNT - 1)) / 2)) throw new Error(`wrong sum: ${sum}`)
  console.log(JSON.stringify({ us, bytes: (process.memoryUsage.rss() - rss) / COUNT }))
  process.exit()
}

main(process.argv[2])
