'use strict'
// node descriptors.js <module file> <when>: makes instances in every way while no descriptor is left ("exhausted"), or
// as it is ("ordinary"); "listening": the program listens to SIGSEGV as well, for which libuv replaces V8's handler. Prints
// what each of them computes. The module: see ../descriptors.test.js.

const fs = require('node:fs')

const [file, when] = process.argv.slice(2)
const bytes = fs.readFileSync(file)
const imports = () => ({ env: { count: new WebAssembly.Global({ value: 'i32', mutable: true }, 40) } })
const response = () => new Response(bytes, { headers: { 'content-type': 'application/wasm' } })
const WAYS = {
  sync: async () => new WebAssembly.Instance(new WebAssembly.Module(bytes), imports()),
  async: async () => (await WebAssembly.instantiate(bytes, imports())).instance,
  stream: async () => (await WebAssembly.instantiateStreaming(response(), imports())).instance,
  again: async () => WebAssembly.instantiate(await WebAssembly.compile(bytes), imports()),
}

async function main() {
  // What Node itself opens, it has opened by then.
  await WAYS.stream()
  const early = new WebAssembly.Module(bytes)
  const told = {}
  const open = []
  try {
    while (when === 'exhausted') open.push(fs.openSync('/dev/null'))
  } catch ({ code }) {
    told.code = code
  }
  for (const [name, make] of Object.entries({ ...WAYS, early: async () => new WebAssembly.Instance(early, imports()) })) {
    told[name] = await make().then(({ exports }) => exports.run(), String)
  }
  open.forEach((descriptor) => fs.closeSync(descriptor))
  console.log(JSON.stringify(told))
}

if (when === 'listening') process.on('SIGSEGV', () => {})
main()
