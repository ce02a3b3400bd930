'use strict'

// WebAssembly in the graph of ES modules: `import * as x from './x.wasm'` and `import source`, as a real package uses
// them, with register active. Node compiles such a file itself, with the namespace that was the global one when its
// loader of .wasm was set up; whichever that was, the program must not notice.

const { execFile } = require('node:child_process')
const { mkdtempSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const { pathToFileURL } = require('node:url')
const test = require('ava')
const { remove } = require('./support/remove.js')

const major = Number(process.versions.node.split('.')[0])
const register = path.join(__dirname, '../register.js')
const run = promisify(execFile)

const ways = {
  '--require': ['--require', register],
  '--import': ['--import', pathToFileURL(register).href],
}

let cache
test.before(() => {
  cache = mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-esm-'))
})
test.after.always(() => remove(cache))

/** Runs `program`, an ES module in this folder, in a process; gives what it wrote. */
async function output(program, flags = []) {
  const args = [...flags, '--input-type=module', '--eval', program]
  const env = { ...process.env, WASM_COMPILE_CACHE: cache }
  const { stdout, stderr } = await run(process.execPath, args, { cwd: __dirname, env })
  return { stdout, stderr: stderr.replaceAll(/\(node:\d+\)/g, '(node)') }
}

const python = JSON.stringify('def f(a,b = 1 ):\n  x = {  "k":[1,2 , a if b else 3] }\n  return  lambda *y: (x , y)\n')
const work = `
  console.log(format(${python}, 'f.py', { line_width: 60 }))
  try { format('def (', 'f.py') } catch (error) { console.log(String(error)) }
`

const inPhase = {
  instance: {
    // Node 20 has it behind a flag.
    flags: major < 22 ? ['--experimental-wasm-modules'] : [],
    program: `
      import { format } from '@wasm-fmt/ruff_fmt/bundler'
      import * as wasm from '@wasm-fmt/ruff_fmt/wasm'
      ${work}
      console.log(Object.keys(wasm), Object.values(wasm).map((one) => typeof one))
      console.log(wasm.memory.buffer.byteLength, String(wasm.memory), wasm.format.length, wasm.format.name)
      const again = await import('@wasm-fmt/ruff_fmt/wasm')
      console.log(again === wasm, again.memory === wasm.memory)
    `,
  },
  source: {
    flags: [],
    program: `
      import { format } from '@wasm-fmt/ruff_fmt/esm'
      import source module from '@wasm-fmt/ruff_fmt/wasm'
      ${work}
      console.log(module instanceof WebAssembly.Module, String(module), module === await import.source('@wasm-fmt/ruff_fmt/wasm'))
      console.log(WebAssembly.Module.imports(module).length, WebAssembly.Module.exports(module))
      console.log(WebAssembly.Module.customSections(module, 'producers').length)
      try { new WebAssembly.Instance(module, {}) } catch (error) { console.log(String(error)) }
    `,
  },
}
// Node 20 and 22 do not have the syntax.
if (major < 24) delete inPhase.source

for (const [phase, { program, flags }] of Object.entries(inPhase)) {
  test(`import of the ${phase} phase is what it is without us`, async (t) => {
    const builtin = await output(program, flags)
    t.regex(builtin.stdout, /lambda/)
    for (const [way, preload] of Object.entries(ways)) {
      t.deepEqual(await output(program, [...preload, ...flags]), builtin, way)
    }
  })
}

test('a memory that came by import is usable with the namespace that is installed', async (t) => {
  const program = `
    import { memory } from '@wasm-fmt/ruff_fmt/wasm'
    const { buffer } = memory
    const pages = buffer.byteLength / 65536
    console.log(memory.grow(1) === pages, buffer.byteLength, memory.buffer.byteLength / 65536 - pages)
    const bytes = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 2, 8, 1, 1, 109, 1, 109, 2, 0, 1, 7, 5, 1, 1, 109, 2, 0])
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { m: { m: memory } })
    console.log(exports.m.buffer === memory.buffer)
  `
  const { flags } = inPhase.instance
  const builtin = await output(program, flags)
  t.is(builtin.stdout, 'true 0 1\ntrue\n')
  for (const [way, preload] of Object.entries(ways)) t.deepEqual(await output(program, [...preload, ...flags]), builtin, way)
})
