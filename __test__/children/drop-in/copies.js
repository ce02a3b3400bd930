'use strict'
// node copies.js <module> <copy> <copy> <steps>: two copies of the package in one process. A step is `<copy><what>`: load,
// install (+) or uninstall (-), as in `a. b. a+ b+ b- a-`. Prints after every step who is in force, and what it does.

const fs = require('node:fs')
const { outcome } = require('./outcome.js')

const [, , file, a, b, steps] = process.argv
const folders = { a, b }
const { value: builtin, ...wanted } = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')
const bytes = new Uint8Array(fs.readFileSync(file))
const copies = {}
const load = (name) => (copies[name] ??= require(folders[name]))

const inForce = () =>
  WebAssembly === builtin ? 'built-in' : Object.keys(copies).find((name) => copies[name].WebAssembly === WebAssembly)

async function main() {
  const told = []
  for (const step of steps.split(' ')) {
    const [name, what] = step
    const copy = load(name)
    if (what === '+') copy.install()
    if (what === '-') copy.uninstall()
    told.push({ step, inForce: inForce(), seen: await outcome(WebAssembly, bytes) })
  }
  const { value, ...attributes } = Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')
  const versions = Object.values(folders).map((one) => require(`${one}/package.json`).version)
  console.log(JSON.stringify({ told, versions, isRestored: value === builtin, attributes: [attributes, wanted] }))
}

main()
