'use strict'
// 1,000 modules of 35 bytes, all different, each instantiated and called once.

/** (module (func (export "f") (result i32) i32.const `number`)) */
const bytes = (number) =>
  Uint8Array.from([
    ...[0, 97, 115, 109, 1, 0, 0, 0],
    ...[1, 5, 1, 96, 0, 1, 127],
    ...[3, 2, 1, 0],
    ...[7, 5, 1, 1, 102, 0, 0],
    ...[10, 7, 1, 5, 0, 65, (number & 127) | 128, number >> 7, 11],
  ])

let sum = 0
for (let number = 0; number < 1000; number++) {
  const module = new WebAssembly.Module(bytes(number))
  sum += new WebAssembly.Instance(module).exports.f()
}
console.log(sum)
