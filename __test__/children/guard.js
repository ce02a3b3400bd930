'use strict'
// node [--disable-wasm-trap-handler] guard.js [handled | full]: tries every way a memory can come to an instance, and prints
// what came of each: "ran", with the result, or the error's class, name, code and message. The process has to live through
// all of it. With "handled" somebody else's handler is in the place of Node's when the package is loaded; with "full" the
// process has no descriptor left.

const fs = require('node:fs')

const [how] = process.argv.slice(2)
if (how === 'handled') process.on('SIGSEGV', () => {})

const W = require('../../index.js')
void W.Module // it is loaded
const { assemble } = require('./modules.js')

const PAGE = 65536

const texts = {
  own: '(module (memory (export "memory") 1) (data (i32.const 0) "\\2a") (func (export "run") (result i32) (i32.load8_u (i32.const 0))))',
  ownShared: '(module (memory 1 1 shared) (func (export "run") (result i32) (i32.const 42)))',
  ownEmpty: '(module (memory 0) (func (export "run") (result i32) (memory.size)))',
  imported: '(module (import "env" "memory" (memory 1)) (func (export "run") (result i32) (i32.load8_u (i32.const 0))))',
  importedShared:
    '(module (import "env" "memory" (memory 1 1 shared)) (func (export "run") (result i32) (i32.load8_u (i32.const 0))))',
  none: '(module (table 1 funcref) (elem (i32.const 0) $f) (global $g i32 (i32.const 41)) (func $f (result i32) (i32.add (global.get $g) (i32.const 1))) (func (export "run") (result i32) (call_indirect (result i32) (i32.const 0))))',
  trap: '(module (func (export "run") (result i32) (i32.div_u (i32.const 1) (i32.const 0))))',
}

const NEIGHBOURS = 20

/** Empty memories and memories of a page in turns: the space of one must not pass for the guard region of another. */
function neighbours(module) {
  const kept = []
  let accepted = 0
  for (let made = 0; made < NEIGHBOURS; made++) {
    const memory = new W.Memory({ initial: 1 })
    kept.push(memory, new W.Memory({ initial: 0 }))
    for (const each of [memory, new W.Memory({ initial: 1 })]) {
      try {
        kept.push(each, new W.Instance(module, { env: { memory: each } }))
        accepted++
      } catch (error) {
        if (error.code !== 'ERR_WASM_NO_GUARD_REGION') throw error
      }
    }
  }
  return accepted / (2 * NEIGHBOURS)
}

const described = (error) => ({
  isLinkError: error instanceof WebAssembly.LinkError,
  name: error.name,
  code: error.code,
  message: error.message,
})

async function attempt(make) {
  try {
    return { ran: (await make()).exports.run() }
  } catch (error) {
    return described(error)
  }
}

function takeDescriptors() {
  try {
    for (;;) fs.openSync('/dev/null')
  } catch (error) {
    if (error.code !== 'EMFILE') throw error
  }
}

async function main() {
  const bytes = {}
  for (const [name, text] of Object.entries(texts)) bytes[name] = await assemble(text)
  if (how === 'full') takeDescriptors()
  const module = (name) => new W.Module(bytes[name])
  const shared = () => new W.Memory({ initial: 1, maximum: 1, shared: true })
  const told = {}
  const tries = {
    none: () => new W.Instance(module('none')),
    own: () => new W.Instance(module('own')),
    ownAsync: () => W.instantiate(module('own')),
    ownBytes: async () => (await W.instantiate(bytes.own)).instance,
    ownShared: () => new W.Instance(module('ownShared')),
    ownEmpty: () => new W.Instance(module('ownEmpty')),
    imported: () => new W.Instance(module('imported'), { env: { memory: new W.Memory({ initial: 1 }) } }),
    importedAsync: () => W.instantiate(module('imported'), { env: { memory: new W.Memory({ initial: 1 }) } }),
    importedBuiltin: () => new W.Instance(module('imported'), { env: { memory: new WebAssembly.Memory({ initial: 1 }) } }),
    importedShared: () => new W.Instance(module('importedShared'), { env: { memory: shared() } }),
    trap: () => new W.Instance(module('trap')),
    noneAgain: async () => (await W.instantiate(bytes.none)).instance,
  }
  for (const [name, make] of Object.entries(tries)) told[name] = await attempt(make)
  told.neighbours = neighbours(module('imported'))
  // A memory by itself is V8's, and works.
  const memory = new W.Memory({ initial: 1, maximum: 2 })
  told.memory = [memory.grow(1), memory.buffer.byteLength / PAGE]
  await W.Module.optimized(module('none'))
  console.log(JSON.stringify(told))
}

main()
