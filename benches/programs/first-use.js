'use strict'
// A module of 1 kB, instantiated and called.

const SIZE = 1000
const CODE = [
  0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 7, 1, 0x60, 2, 0x7f, 0x7f, 1, 0x7f, 3, 2, 1, 0, 7, 7, 1, 3, 0x61, 0x64, 0x64, 0, 0, 10, 9, 1,
  7, 0, 0x20, 0, 0x20, 1, 0x6a, 0x0b,
]

// Filled up with a custom section.
const bytes = new Uint8Array(SIZE)
const rest = SIZE - CODE.length - 3
bytes.set([...CODE, 0, (rest & 127) | 128, rest >> 7, 1, 0x78])

const {
  exports: { add },
} = new WebAssembly.Instance(new WebAssembly.Module(bytes))
console.log(add(1, 2))
