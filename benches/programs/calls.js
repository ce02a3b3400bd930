'use strict'
// calls.js file wrapper: nanoseconds a call, both ways; of a function that goes through JavaScript and a table, as
// Emscripten's invoke_* do; of JavaScript's function in a table, as its addFunction puts it there; and of an empty function
// of the addon where it is loaded. The best of seven passes after two to warm up.

const { readFileSync } = require('node:fs')
const compile = require('./tier.js')

const CALLS = 500_000

function best(pass) {
  let least = Infinity
  for (let i = 0; i < 9; i++) {
    const started = performance.now()
    pass(CALLS)
    const ms = performance.now() - started
    if (i > 1) least = Math.min(least, ms)
  }
  return (least * 1e6) / CALLS
}

async function main() {
  const module = await compile(readFileSync(process.argv[2]))
  const js = (a, b) => (a + b) | 0
  const functions = []
  const invoke = (index, a, b) => {
    const stack = exports.emscripten_stack_get_current()
    try {
      return (functions[index] ??= exports.table.get(index))(a, b)
    } catch (error) {
      if (error !== error + 0) throw error
      return stack
    }
  }
  const { exports } = await WebAssembly.instantiate(module, { env: { add: js, invoke_iii: invoke } })
  const { add, loop, invokes, indirect, table } = exports
  const wrapper = await compile(readFileSync(process.argv[3]))
  const added = await WebAssembly.instantiate(wrapper, { env: { f: js } })
  table.set(1, added.exports.f)
  if (add(40, 2) !== 42 || [loop, invokes, indirect].some((sum) => sum(3) !== 6)) throw new Error('wrong sums')
  const result = {
    into: best((n) => {
      for (let i = 0; i < n; i++) add(i, 2)
    }),
    out: best((n) => loop(n)),
    invoke: best((n) => invokes(n)),
    added: best((n) => indirect(n)),
  }
  if (WebAssembly.Module.tier) {
    const { empty } = require('../../binding.js')
    result.empty = best((n) => {
      for (let i = 0; i < n; i++) empty()
    })
  }
  console.log(JSON.stringify(result))
}

main()
