'use strict'

// Writes THIRD-PARTY.md and THIRD-PARTY.json: what is linked into the addon, and what npm installs beside it, with licences and
// their texts, as the lock files have it.
//
// The list of what is neither MIT nor Apache-2.0 stands in docs/licensing.md, too.
//
//   node scripts/licences.js            writes them
//   node scripts/licences.js --check    fails where they say anything else, or something has a licence that is not known

const { execFileSync } = require('node:child_process')
const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.join(__dirname, '..')
const FILES = ['THIRD-PARTY.md', 'THIRD-PARTY.json', 'docs/licensing.md'].map((name) => path.join(ROOT, name))
const SINGLEPASS = 'wasmer-compiler-singlepass'

/** Licences that ask for nothing but their own text. */
const PERMISSIVE = [
  'MIT',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  'Zlib',
  '0BSD',
  'Unlicense',
  'CC0-1.0',
  'BSL-1.0',
  'MIT-0',
]
/** What else there is; whoever adds to this has read it. */
const KNOWN = [...PERMISSIVE, 'Apache-2.0 WITH LLVM-exception', 'Unicode-3.0', 'MPL-2.0', 'BUSL-1.1']

/** One expression for what older manifests write with a slash. */
const expressionOf = ({ name, license }) =>
  name === SINGLEPASS ? 'BUSL-1.1' : license.replaceAll('/', ' OR ').replaceAll(/ +/g, ' ')

/** What one may choose among: expressions here have no AND but between brackets. */
const choices = (expression) => expression.split(' OR ').map((one) => one.replaceAll(/[()]/g, ''))

const metadata = (flags) =>
  JSON.parse(
    execFileSync('cargo', ['metadata', '--locked', '--format-version', '1', ...flags], {
      cwd: ROOT,
      encoding: 'utf8',
      maxBuffer: 2 ** 28,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
  )

/** The crates that are linked into the addon, on whatever platform: not what only builds it. */
function linked({ packages, resolve }) {
  const byId = new Map(packages.map((one) => [one.id, one]))
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]))
  const found = new Set()
  const visit = (id) => {
    if (found.has(id) || byId.get(id).targets.some(({ kind }) => kind.includes('proc-macro'))) return
    found.add(id)
    const runs = ({ dep_kinds: kinds }) => kinds.some(({ kind }) => kind === null)
    for (const { pkg } of nodes.get(id).deps.filter(runs)) visit(pkg)
  }
  visit(packages.find(({ name }) => name === 'wasm-compile-cache').id)
  return [...found].map((id) => byId.get(id)).filter(({ source }) => source !== null)
}

/** The texts of licences in a folder. */
function textsIn(folder) {
  const names = fs.existsSync(folder)
    ? fs.readdirSync(folder).filter((name) => /^(licen[cs]e|copying|notice|unlicense)/i.test(name))
    : []
  return names
    .sort()
    .map((name) => path.join(folder, name))
    .filter((file) => fs.statSync(file).isFile())
    .map((file) => fs.readFileSync(file, 'utf8').replaceAll('\r\n', '\n').trim())
}

function crates() {
  const without = new Set(linked(metadata(['--no-default-features'])).map(({ id }) => id))
  return linked(metadata([])).map((one) => ({
    kind: 'crate',
    name: one.name,
    version: one.version,
    license: expressionOf(one),
    ...(without.has(one.id) ? {} : { onlyWith: 'singlepass' }),
    texts: textsIn(path.dirname(one.manifest_path)),
  }))
}

/** What npm installs with the package. */
function modules() {
  const { packages } = JSON.parse(fs.readFileSync(path.join(ROOT, 'package-lock.json'), 'utf8'))
  const needed = Object.entries(packages).filter(
    ([place, { dev, devOptional, optional }]) => place !== '' && !dev && !devOptional && !optional
  )
  return needed.map(([place, { version, license }]) => ({
    kind: 'npm',
    name: place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length),
    version,
    license,
    texts: textsIn(path.join(ROOT, place)),
  }))
}

const order = (a, b) => (a.name === b.name ? (a.version < b.version ? -1 : 1) : a.name < b.name ? -1 : 1)

/** Those that give no choice of MIT or Apache-2.0. */
const isOther = ({ license }) => !choices(license).some((one) => /^(MIT|Apache-2\.0)\b/.test(one))

function page(all) {
  const rows = all.map(({ kind, name, version, license, onlyWith }) => {
    const where =
      kind === 'npm' ? 'installed by npm' : onlyWith === undefined ? 'in the addon' : 'in the addon, with Singlepass only'
    return `| ${name} ${version} | ${license} | ${where} |`
  })
  const texts = new Map()
  for (const { name, version, texts: own } of all) {
    for (const text of own) {
      const hash = crypto.createHash('sha256').update(text.replaceAll(/\s+/g, ' ')).digest('hex')
      const known = texts.get(hash) ?? { text, names: [] }
      known.names.push(`${name} ${version}`)
      texts.set(hash, known)
    }
  }
  const sections = [...texts.values()].map(
    ({ text, names }) => `## ${[...new Set(names)].join(', ')}\n\n~~~text\n${text.replaceAll('~~~', '~ ~ ~')}\n~~~`
  )
  return [
    '# Third-party software',
    'Made of the lock files by `node scripts/licences.js`. [Licensing](docs/licensing.md) says what follows from it.',
    ['| what | licence | where |', '|---|---|---|', ...rows].join('\n'),
    ...sections,
    '',
  ].join('\n\n')
}

const [BEGIN, END] = ['<!-- others:begin: made of the lock files by `node scripts/licences.js` -->', '<!-- others:end -->']

const LEFT_OUT = 'the addon that is built without Singlepass'

/** How to do without. */
const instead = ({ kind, license, onlyWith }) => {
  if (onlyWith !== undefined) return LEFT_OUT
  if (kind === 'npm') return 'no need: it asks for its text only'
  return PERMISSIVE.includes(license) ? 'no need: it asks for its text only' : 'no need: it asks for changes to its own files only'
}

/** The page with the list. */
function listed(others) {
  const text = fs.readFileSync(FILES[2], 'utf8')
  const rows = others.map((one) => {
    const where = one.kind === 'npm' ? 'beside the addon' : 'in the addon'
    return `| ${one.name} ${one.version} | ${one.license} | ${where} | ${instead(one)} |`
  })
  const table = ['| what | licence | where | without it |', '|---|---|---|---|', ...rows].join('\n')
  return `${text.slice(0, text.indexOf(BEGIN) + BEGIN.length)}\n\n${table}\n\n${text.slice(text.indexOf(END))}`
}

function made() {
  const all = [...crates(), ...modules()].sort(order)
  for (const { name, license } of all) {
    const isKnown = choices(license).some((one) => one.split(' AND ').every((part) => KNOWN.includes(part)))
    if (!isKnown) throw new Error(`${name} has a licence that is not known here: ${license}`)
  }
  const others = all.filter(isOther).map(({ texts: _, ...one }) => one)
  return [page(all), `${JSON.stringify({ others }, null, 2)}\n`, listed(others)]
}

function main() {
  const texts = made()
  if (!process.argv.includes('--check')) {
    for (const [index, file] of FILES.entries()) fs.writeFileSync(file, texts[index])
    return
  }
  const stale = FILES.filter((file, index) => !fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== texts[index])
  for (const file of stale) console.error(`${path.relative(ROOT, file)} is not what the lock files say: node scripts/licences.js`)
  if (stale.length > 0) process.exitCode = 1
}

main()
