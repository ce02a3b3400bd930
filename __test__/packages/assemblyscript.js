'use strict'
// AssemblyScript: its compiler, which works in Binaryen's WebAssembly, translates ledger.ts in two
// ways; what it makes is run through the bindings it makes.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

run(async () => {
  const { default: asc } = await import('assemblyscript/asc')
  const source = fs.readFileSync(path.join(__dirname, 'ledger.ts'), 'utf8')

  async function compile(text, ...flags) {
    const files = {}
    const { error, stdout, stderr } = await asc.main(
      ['ledger.ts', '--outFile', 'ledger.wasm', '--textFile', 'ledger.wat', '--bindings', 'raw', ...flags],
      {
        readFile: (name) => (name === 'ledger.ts' ? text : null),
        writeFile: (name, contents) => void (files[name] = contents),
        listFiles: () => [],
      }
    )
    return { ...files, messages: `${stdout} ${stderr} ${error}` }
  }

  return async () => {
    const outputs = []
    const values = Float64Array.from({ length: 300 }, (_, i) => i * 1.37 - 100)
    for (const flags of [
      ['-O3', '--enable', 'simd'],
      ['--debug', '--sourceMap', '--runtime', 'minimal', '--exportRuntime'],
    ]) {
      const made = await compile(source, ...flags)
      outputs.push(
        made['ledger.wasm'],
        made['ledger.wat'],
        made['ledger.d.ts'],
        made['ledger.js'],
        made['ledger.wasm.map'] ?? '',
        made.messages
      )
      const { instantiate } = await import(`data:text/javascript,${encodeURIComponent(made['ledger.js'])}`)
      const program = await instantiate(await WebAssembly.compile(made['ledger.wasm']), { env: {} })
      outputs.push(program.ledger(12345678901234567890n, 3000), program.digits(120), program.mix(values, 0x1234_5678_9abc_def0n))
      for (const at of [1, 3, -7]) {
        try {
          outputs.push(String(program.fail(at)))
        } catch (error) {
          outputs.push(`${error.name}: ${error.message}`)
        }
      }
    }
    outputs.push((await compile('export function f(x: strin): i32 { return x }')).messages)
    return outputs
  }
})
