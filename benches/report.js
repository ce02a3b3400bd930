'use strict'
// node benches/report.js: writes the figures of results.json between the marks of README.md (six rows) and of
// docs/performance.md (all of them, and how each is measured), and docs/remote.md.
//
// __test__/pages.test.js fails where these pages say anything else.

const { readFileSync, writeFileSync } = require('node:fs')
const path = require('node:path')
const rows = require('./rows/index.js')

const ROOT = path.join(__dirname, '..')

const BEGIN = '<!-- bench:begin: made of benches/results.json by `node benches/report.js` -->'
const END = '<!-- bench:end -->'

const number = (value) => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2)

/** "164 ms (0.13×)": median, and its ratio to the first column's. */
function cell(column, unit, isFirst) {
  if (column === undefined) return '–'
  const ratio = isFirst || column.ratio === undefined ? '' : ` (${number(column.ratio)}×)`
  return `${number(column.median)} ${unit}${ratio}`
}

const table = (head, lines) =>
  [`| ${head.join(' | ')} |`, `|${head.map(() => '---').join('|')}|`, ...lines.map((line) => `| ${line.join(' | ')} |`)].join('\n')

const rowOf = ({ row }) => rows.find(({ name }) => name === row)

/** A line of a row says what it is in the row's words: "call: JS → wasm, two i32". */
function titleOf(result) {
  const { name, row, title, whole } = result
  if (name !== row) return `${rowOf(result)?.title ?? row}: ${title}`
  return whole ? `${title} (whole process)` : title
}

const { entries } = Object

/** How this package does once a module is optimised. */
const running = ({ columns }) => columns.hot ?? columns.optimizing

const worst = (results, columnOf) =>
  results.filter((result) => columnOf(result)?.ratio !== undefined).sort((a, b) => columnOf(b).ratio - columnOf(a).ratio)[0]

const USUAL = ['esbuild-cli', 'swc', 'sqljs', 'load-swc-url']

/** What anybody would ask for first, then the worst of a cold run and the worst of all others. */
const headline = (results) =>
  [
    ...new Set([
      ...USUAL.map((name) => results.find((result) => result.name === name)),
      worst(results, ({ columns }) => columns.cold),
      worst(results, running),
    ]),
  ].filter(Boolean)

const where = ({ machine }) =>
  `on ${machine.cores} cores (${machine.cpu}, ${machine.system}), Node ${machine.node.slice(1)}, ${machine.date}.`

const roundsOf = ({ rounds, busyRounds }, which) => (which === 'busy' ? busyRounds : rounds)

/** How often a row was measured, where that is not as often as most are. */
function exceptions(results, rounds, which) {
  const others = results.filter(({ measured }) => roundsOf(measured, which) !== rounds)
  const counts = [...new Set(others.map(({ measured }) => roundsOf(measured, which)))].sort((a, b) => a - b)
  return counts.map((count) => {
    const titles = new Set(
      others.filter(({ measured }) => roundsOf(measured, which) === count).map((result) => rowOf(result)?.title ?? result.title)
    )
    return `${count} for ${[...titles].join(', ')}`
  })
}

/** Of how many processes the figures are, and when and on what they were measured. */
function about(machine, results, which = 'columns') {
  const counts = results.map(({ measured }) => roundsOf(measured, which))
  const often = (count) => counts.filter((other) => other === count).length
  const rounds = counts.reduce((most, count) => (often(count) > often(most) ? count : most), counts[0])
  const but = exceptions(results, rounds, which)
  const days = results.map(({ measured }) => measured.date.slice(0, 10)).sort()
  const date = [...new Set([days[0], days.at(-1)])].join(' to ')
  const fewer = but.length > 0 ? ` (${but.join('; ')})` : ''
  return `Medians of ${rounds} fresh processes a column${fewer}, interleaved, ${where({ machine: { ...machine, date } })}`
}

function short(all) {
  const lines = headline(all.results).map((result) => {
    const {
      columns: { builtin, best, cold, v8 },
      unit,
    } = result
    const others = [best, cold, running(result), v8]
    return [titleOf(result), cell(builtin, unit, true), ...others.map((column) => cell(column, unit, false))]
  })
  const head = ['', 'built-in', 'built-in, best flags', 'cold', 'hot', "V8's code"]
  return [table(head, lines), about(all.machine, headline(all.results)), permissive(all.flavours)].filter(Boolean).join('\n\n')
}

/** A cold run with each flavour. */
function permissive({ rows = [], rounds, date } = {}) {
  if (rows.length === 0) return ''
  const told = rows.map(
    ({ title, columns: { whole, permissive } }) => `*${title}* ${number(whole.ratio)}× and ${number(permissive.ratio)}×`
  )
  return `A cold run with Singlepass and with the [permissive flavour](docs/licensing.md), which is without it, relative to the built-in engine: ${told.join('; ')} (medians of ${rounds}, interleaved, ${date.slice(0, 10)}).`
}

const LOGARITHMIC = '![Time relative to the built-in engine, all rows](../benches/results.svg)'

/** Runs of results with the same columns. */
function groups(results) {
  const found = []
  for (const result of results) {
    const keys = entries(result.columns).map(([key, { label }]) => [key, label])
    const last = found.at(-1)
    if (last?.results.at(-1).row === result.row || last?.keys.join() === keys.join()) last.results.push(result)
    else found.push({ keys, results: [result] })
  }
  return found
}

/** How each row of a group is measured; rows that are measured alike share a line. */
function hows(results) {
  const titles = new Map()
  for (const result of results) {
    const { how, title } = rowOf(result) ?? {}
    if (how !== undefined) titles.set(how, (titles.get(how) ?? new Set()).add(title))
  }
  return [...titles].map(([how, of]) => `- *${of.size > 3 ? `${[...of][0]}, and alike` : [...of].join('*, *')}*: ${how}`).join('\n')
}

function section({ keys, results }) {
  const lines = results.map((result) => [
    titleOf(result),
    ...keys.map(([key], index) => cell(result.columns[key], result.unit, index === 0)),
  ])
  return [table(['', ...keys.map(([, label]) => label)], lines), hows(results)].filter(Boolean).join('\n\n')
}

function memory(results) {
  const whole = results.filter((result) => result.whole)
  const keys = entries(whole[0]?.columns ?? {})
  const lines = whole.map(({ title, columns }) => [
    title,
    ...keys.map(([key]) => (columns[key] ? `${(columns[key].rss / 2 ** 20).toFixed(0)} MiB` : '–')),
  ])
  return whole.length === 0 ? '' : `Memory at its peak:\n\n${table(['', ...keys.map(([, { label }]) => label)], lines)}`
}

function flags(results) {
  const found = results.filter(({ whole, columns: { best } }) => whole && best?.flags.length > 0)
  const lines = found.map(({ title, columns: { best } }) => `- *${title}*: \`${best.flags.join(' ')}\``)
  return found.length === 0
    ? ''
    : `The best flags that were found for the built-in engine, of the rows that run a whole program:\n\n${lines.join('\n')}`
}

const notes = (all) => (all.notes.length === 0 ? '' : `Notes:\n\n${all.notes.map((note) => `- ${note}`).join('\n')}`)

/** What a program may take that knows nothing of this package: of time, quiet and busy, and of memory. */
const MAY_TAKE = { columns: 1.03, busy: 1.1, ms: 3, memory: 1.05, bytes: 8 * 2 ** 20 }

/** Where this package's engine is the better one, it is to be better by this. */
const BETTER = 0.95

/** A ratio with its memory: "0.13× (0.90×)"; bold where it is more than it may be. */
function choice({ ratio, more, memory: share, moreMemory }, { median, rss }, isOurs, most) {
  const isLonger = isOurs ? ratio > BETTER : more > (most - 1) * median + MAY_TAKE.ms
  const isLarger = !isOurs && moreMemory > (MAY_TAKE.memory - 1) * rss + MAY_TAKE.bytes
  const mark = (text, isMarked) => (isMarked ? `**${text}**` : text)
  return `${mark(`${number(ratio)}×`, isLonger)} (${mark(`${number(share)}×`, isLarger)})`
}

function choicesOf(all, which, machine) {
  const rows = all.filter((row) => row[which] !== undefined)
  if (rows.length === 0) return ''
  const keys = entries(rows[0][which])
  const lines = rows.map(({ title, isOurs, verdicts, ...row }) => {
    const { builtin, ...others } = row[which]
    const told = entries(others).map(([key, column]) => choice(column, builtin, isOurs && key === 'known', MAY_TAKE[which]))
    return [
      title,
      `${number(builtin.median)} ms`,
      ...told,
      ...(which === 'columns' ? [verdicts.join('; ') || 'nothing to know'] : []),
    ]
  })
  return [
    about(machine, rows, which),
    table(['', ...keys.map(([, { label }]) => label), ...(which === 'columns' ? ['verdict'] : [])], lines),
  ].join('\n\n')
}

/** What a program pays that knows nothing of this package. */
function choices(machine, rows = []) {
  if (rows.length === 0) return ''
  return [
    'Whole programs under `register`, from an empty cache: the first run, the second at once after it, the tenth, and one when its modules ' +
      'are known. Each as time (and peak memory) relative to the built-in engine: the median of the ratios to the run on that engine that ' +
      'was directly before or after it. Bold is what takes more than 1.03 of its time and 3 ms, or more than 1.05 of its memory and 8 MiB; ' +
      `or where this package's engine was chosen, more than ${BETTER} of its time. The tenth runs are of every third round. An empty ` +
      'program, for which this package loads one small file, shows how much of it is chance.',
    choicesOf(rows, 'columns', machine),
    'The same beside two processes that do nothing but take time. Bold is what takes more than 1.1 of the time.' +
      (rows.every(({ busy }) => busy) ? '' : ' The ratios of programs that are missing here are, above, those of medians.'),
    choicesOf(rows, 'busy', machine),
  ]
    .filter(Boolean)
    .join('\n\n')
}

/** What a program takes whose modules are better off on the built-in engine, on each Node. */
function byNode(auto, nodes = {}, machine) {
  const majors = Object.keys(nodes)
  if (majors.length === 0) return ''
  const titles = new Map(majors.flatMap((major) => nodes[major].rows.map(({ name, title }) => [name, title])))
  const measured = [
    { node: machine.node, rows: auto.filter(({ name }) => titles.has(name)) },
    ...majors.map((major) => nodes[major]),
  ]
  const hasCode = ({ verdicts }) => verdicts.some((verdict) => verdict.endsWith("of V8's code are kept"))
  const cellOf = (row) =>
    row === undefined
      ? '–'
      : `${number(row.columns.first.ratio)}×, ${number(row.columns.known.ratio)}×${hasCode(row) ? '' : row.isOurs ? ' (ours)' : ' (none)'}`
  const mean = ({ rows }) => {
    const ratios = rows.filter(hasCode).map(({ columns }) => Math.log(columns.known.ratio))
    return `${number(Math.exp(ratios.reduce((sum, one) => sum + one, 0) / ratios.length))}×`
  }
  const lines = [...titles].map(([name, title]) => [
    title,
    ...measured.map(({ rows }) => cellOf(rows.find((row) => row.name === name))),
  ])
  const when = majors.map((major) => `Node ${major}: ${nodes[major].rounds} rounds, ${nodes[major].date.slice(0, 10)}`)
  return [
    "Programs under `register` whose modules are better off on the built-in engine, on each Node: the first run, and one with V8's code, " +
      'each relative to that Node without this package. *None*: the code would cost more time or memory than it saves. *Ours*: there, this ' +
      "package's engine runs it. The last line is the geometric mean of the runs with V8's code.",
    `Medians (${when.join('; ')}; Node ${machine.node.slice(1).split('.')[0]} as above).`,
    table(['', ...measured.map(({ node }) => `Node ${node.slice(1)}`)], [...lines, ["V8's code", ...measured.map(mean)]]),
  ].join('\n\n')
}

const seconds = ({ median }) => `${(median / 1000).toFixed(2)} s`

/** What a step has to be within, to be no slower: 3 %, and 3 ms for each of its commands. */
const isSlower = ({ without, with: ours, commands }) => ours.median > 1.03 * without.median + 3 * commands

/** A week of development. */
function week({ rows = [], ...measured } = {}) {
  if (rows.length === 0) return ''
  const lines = rows.map((row) => [
    row.title,
    seconds(row.without),
    seconds(row.with),
    `${number(row.ratio)}×${isSlower(row) ? ' (slower)' : ''}`,
    `${seconds({ median: row.with.min })} to ${seconds({ median: row.with.max })}`,
  ])
  return [
    'A week of development of a small project (`benches/week/`), each command without this package and, directly before or after it, with ' +
      'it. *Slower* is what takes more than 3 % and 3 ms a command longer.',
    `Medians of ${measured.rounds} weeks, ${where({ machine: { ...measured.machine, date: measured.machine.date.slice(0, 10) } })}`,
    table(['', 'without', 'with', 'ratio', 'with, from the best week to the worst'], lines),
    ...(measured.notes ?? []),
  ].join('\n\n')
}

/** Programs on an empty machine, with a cache that machines share. */
function remote({ rows = [], rounds, date } = {}, machine) {
  if (rows.length === 0) return ''
  const keys = entries(rows[0].columns)
  const lines = rows.map(({ title, columns }) => [title, ...keys.map(([key], index) => cell(columns[key], 'ms', index === 0))])
  return [
    `Whole programs on a machine whose cache is empty, without a remote and with one (nginx; at 10 MB/s and 50 ms for a round trip; one that nobody answers). Medians of ${rounds} fresh processes a column, interleaved, ${where({ machine: { ...machine, date: date.slice(0, 10) } })} The server, its line and the program share the cores.`,
    table(['', ...keys.map(([, { label }]) => label)], lines),
  ].join('\n\n')
}

const full = (all) =>
  [
    LOGARITHMIC,
    about(all.machine, all.results),
    choices(all.machine, all.auto),
    byNode(all.auto, all.nodes, all.machine),
    week(all.week),
    ...groups(all.results).map(section),
    memory(all.results),
    flags(all.results),
    notes(all),
  ]
    .filter(Boolean)
    .join('\n\n')

/** The page with other figures. */
function replaced(text, figures) {
  const [from, to] = [text.indexOf(BEGIN), text.indexOf(END)]
  if (from === -1 || to === -1) throw new Error(`a page has no ${from === -1 ? BEGIN : END}`)
  return `${text.slice(0, from + BEGIN.length)}\n\n${figures}\n\n${text.slice(to)}`
}

/** @returns {{file: string, text: string, fresh: string}[]} the pages with figures: as they are, and as they have to be */
function pages() {
  const all = JSON.parse(readFileSync(path.join(__dirname, 'results.json'), 'utf8'))
  return [
    ['README.md', short(all)],
    ['docs/performance.md', full(all)],
    ['docs/remote.md', remote(all.remote, all.machine)],
  ].map(([name, figures]) => {
    const file = path.join(ROOT, name)
    const text = readFileSync(file, 'utf8')
    return { file, text, fresh: replaced(text, figures) }
  })
}

module.exports = { pages }

if (require.main === module) {
  for (const { file, fresh } of pages()) writeFileSync(file, fresh)
}
