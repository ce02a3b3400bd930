'use strict'
// node benches/flavours.js: cold runs with the addon as it is shipped, and with the one without Singlepass. What it finds becomes
// `flavours` of results.json; `node benches/report.js` then writes it into README.md.
//
// BENCH_ROUNDS=7       processes a column
// BENCH_OUTPUT=folder  where the results.json is that gets it (default: this folder)

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { addonPath, build } = require('../scripts/build.js')
const { interleave, print } = require('./interleave.js')
const { machine } = require('./machine.js')

const OUTPUT = path.join(process.env.BENCH_OUTPUT ?? __dirname, 'results.json')
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7)
const ROWS = ['esbuild-cli', 'swc', 'sqljs'].map((name) => require('./rows/index.js').find((row) => row.name === name))
const PERMISSIVE = path.join(__dirname, '../build/permissive')

const cold = (label, addon) => ({
  label,
  env: { WASM_COMPILE_CACHE_ENGINE: 'ours', WASM_COMPILE_CACHE_FINISH: '0', NAPI_RS_NATIVE_LIBRARY_PATH: addon },
  isEmpty: true,
})

async function main() {
  await build()
  await build({ outputDir: PERMISSIVE, cargoArgs: ['--no-default-features'] })
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-bench-'))
  try {
    const columns = {
      builtin: { label: 'built-in' },
      whole: cold('cold', addonPath()),
      permissive: cold('cold, without Singlepass', addonPath(PERMISSIVE)),
    }
    const rows = []
    for (const row of ROWS) rows.push(await interleave(row, columns, { rounds: ROUNDS, directory }))
    const found = JSON.parse(fs.readFileSync(OUTPUT, 'utf8'))
    const { date, commit } = machine()
    fs.writeFileSync(OUTPUT, `${JSON.stringify({ ...found, flavours: { date, commit, rounds: ROUNDS, rows } }, null, 2)}\n`)
    print(rows)
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

main()
