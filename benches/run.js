'use strict'
// npm run bench: the rows of rows/, each against the built-in in the same run, and those of auto.js.
//
// BENCH_ROUNDS=7       processes a column
// BENCH_BUSY=3         of those of auto.js on a busy machine; 0 leaves that out
// BENCH_ONLY=a,b       only rows whose name contains one of these; the others stay as they were measured before
// BENCH_OUTPUT=folder  where results.json and results.svg go (default: this folder)

const { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const auto = require('./auto.js')
const { chart } = require('./chart.js')
const { machine } = require('./machine.js')
const { run } = require('./measure.js')
const { line } = require('./progress.js')
const { measureRow } = require('./row.js')
const rows = require('./rows/index.js')
const prepare = require('../scripts/prepare.js')
const { table } = require('./table.js')

const rounds = Number(process.env.BENCH_ROUNDS ?? 7)
const busyRounds = Number(process.env.BENCH_BUSY ?? 3)
const only = process.env.BENCH_ONLY?.split(',')
const output = process.env.BENCH_OUTPUT ?? __dirname

async function addonLoads() {
  try {
    await run({ args: ['-e', 'process.exit(WebAssembly.Module.tier ? 0 : 1)'], ours: true })
    return true
  } catch (error) {
    const reason = error.message.split('\n').find((text) => /Error/.test(text)) ?? error.message
    line(`only the built-in's columns, for ours does not load: ${reason}`)
    return false
  }
}

async function main() {
  const isChosen = (name) => !only || only.some((part) => name.includes(part))
  const chosen = rows.filter(({ name }) => isChosen(name))
  const choices = auto.ROWS.filter(([name]) => isChosen(`auto-${name}`))
  if ((choices.some(auto.isLarge) || chosen.some(({ large }) => large)) && !(await prepare.large(line))) {
    throw new Error('the packages of large/ are not installed')
  }
  const directory = mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-bench-'))
  const results = []
  const choice = []
  try {
    const addon = await addonLoads()
    for (const [i, row] of chosen.entries()) {
      line(`${i + 1}/${chosen.length} ${row.title}`)
      const measured = await measureRow(row, { directory, rounds, addon })
      results.push(...measured.map((result) => ({ ...result, measured: when() })))
      store(results, choice)
    }
    for (const [i, row] of choices.entries()) {
      line(`${i + 1}/${choices.length} register: ${row[1]}`)
      choice.push({ ...(await auto.measure(row, { directory, rounds, busyRounds })), measured: { ...when(), busyRounds } })
      store(results, choice)
    }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
  if (results.length > 0) console.log(table(results))
  for (const { title, columns, verdicts } of choice) {
    const told = Object.values(columns).map(
      ({ label, median, ratio = 1, more = 0, memory = 1 }) =>
        `${label} ${median.toFixed(0)} ms ${ratio.toFixed(2)}× (${more.toFixed(1)} ms) ${memory.toFixed(2)}× memory`
    )
    console.log(`${title}: ${told.join(', ')}; ${verdicts.join('; ') || 'no verdict'}`)
  }
  for (const note of chosen.flatMap((row) => row.notes?.(results) ?? [])) console.log(note)
  const about = machine()
  console.log(
    `${about.cpu}, ${about.cores} cores, Node ${about.node}; medians of ${rounds} fresh processes a column, interleaved; × is the ratio to the built-in`
  )
}

function when() {
  const { date, commit } = machine()
  return { date, commit, rounds }
}

/** What lies in a file of results, in the order of the rows: what was measured now in the place of what was measured before. */
function merged(names, before = [], now) {
  const measured = new Set(now.map((result) => result.row ?? result.name))
  const all = [...before.filter((result) => !measured.has(result.row ?? result.name)), ...now]
  return names.flatMap((name) => all.filter((result) => (result.row ?? result.name) === name))
}

/** Writes what is measured so far, so that a run that is stopped leaves its rows. What others measure stays. */
function store(results, choice) {
  const about = machine()
  const file = path.join(output, 'results.json')
  const found = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
  const names = rows.map(({ name }) => name)
  const all = merged(names, found.results, results)
  const stored = {
    ...found,
    machine: about,
    notes: rows.flatMap((row) => row.notes?.(all) ?? []),
    results: all,
    auto: merged(
      auto.ROWS.map(([name]) => name),
      found.auto,
      choice
    ),
  }
  writeFileSync(file, JSON.stringify(stored, null, 2) + '\n')
  writeFileSync(path.join(output, 'results.svg'), chart(all, about))
}

main().catch((error) => {
  line(error.stack)
  process.exitCode = 1
})
