'use strict'
// Programs under register whose modules are better off on the built-in engine, on the Node that runs this: those rows of auto.js,
// without tenth runs and busy machines. What it finds becomes a column of `nodes` in results.json; `node benches/report.js` then
// writes it into docs/performance.md. The Nodes of the tests are in __test__/nodes/node_modules/.
//
// BENCH_ROUNDS=5       processes a column
// BENCH_ONLY=a,b       only programs whose name contains one of these; the others stay as they were measured before
// BENCH_OUTPUT=folder  where the results.json is that gets it (default: this folder)

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const auto = require('./auto.js')
const { machine } = require('./machine.js')
const { line } = require('./progress.js')
const prepare = require('../scripts/prepare.js')

const OUTPUT = path.join(process.env.BENCH_OUTPUT ?? __dirname, 'results.json')
const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
const only = process.env.BENCH_ONLY?.split(',') ?? ['']

const NAMES = ['assemblyscript', 'mupdf', 'pyodide', 'solc', 'php', 'duckdb', 'z3', 'automerge', 'web-ifc', 'dart']

/** Each row at once, so that a run that is stopped leaves what it has measured. */
function store(row) {
  const found = JSON.parse(fs.readFileSync(OUTPUT, 'utf8'))
  const { node, date, commit } = machine()
  const [major] = node.slice(1).split('.')
  const before = found.nodes?.[major]?.rows ?? []
  const rows = [...before.filter(({ name }) => name !== row.name), row]
  const inOrder = NAMES.flatMap((name) => rows.filter((other) => other.name === name))
  const nodes = { ...found.nodes, [major]: { node, date, commit, rounds, rows: inOrder } }
  fs.writeFileSync(OUTPUT, `${JSON.stringify({ ...found, nodes }, null, 2)}\n`)
}

async function main() {
  const rows = auto.ROWS.filter(([name]) => NAMES.includes(name) && only.some((part) => name.includes(part)))
  if (rows.some(auto.isLarge) && !(await prepare.large(line))) throw new Error('the packages of large/ are not installed')
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-bench-'))
  try {
    for (const row of rows) {
      line(`Node ${process.version}: ${row[1]}`)
      const { columns, ...measured } = await auto.measure(row, { directory, rounds, busyRounds: 0, hasTenth: false })
      store({ ...measured, columns })
      line(
        `${Object.values(columns)
          .map(({ label, ratio = 1 }) => `${label} ${ratio.toFixed(2)}`)
          .join(', ')}; ${measured.verdicts}`
      )
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

main()
