'use strict'

// Finds circles of files in Rust: files that name each other, by `use` or by a path, directly or through others. A circle
// has to be one that ARCHITECTURE.md names as parts of one thing, in the table below "Halves"; and what is named there has
// to be one. Folders have none.
//
//   node scripts/circles.js [--list]    lists who names whom, too

const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.join(__dirname, '..')
const CRATES = { src: 'src/', 'crates/engine/src': '', 'crates/store/src': 'store/' }

/** The text without what is no code: comments, strings, and the unit tests, which end a file. */
function code(text) {
  return text
    .replace(/\/\*[^]*?\*\//g, ' ')
    .replace(/\/\/[^\n]*/g, ' ')
    .replace(/b?"(?:[^"\\]|\\[^])*"/g, '""')
    .replace(/#\[cfg\(test\)\](?:\s*#\[path[^\]]*\])?\s*mod \w+(?:;|\s*\{[^]*)/, '')
}

/** The paths of a use tree: `a::{b, c as d}` is [[a, b], [a, c]], each with the name that it gets. */
function expand(tree, before = []) {
  tree = tree.trim()
  const open = tree.indexOf('{')
  if (open < 0) {
    const [from, as] = tree.split(/\s+as\s+/)
    const parts = [
      ...before,
      ...from
        .split('::')
        .map((part) => part.trim())
        .filter(Boolean),
    ]
    if (parts.at(-1) === 'self') parts.pop()
    return parts.length === 0 ? [] : [{ parts, name: as?.trim() ?? parts.at(-1) }]
  }
  const head = tree
    .slice(0, open)
    .split('::')
    .map((part) => part.trim())
    .filter(Boolean)
  const body = tree.slice(open + 1, tree.lastIndexOf('}'))
  const branches = []
  let depth = 0
  let from = 0
  for (let at = 0; at <= body.length; at++) {
    if (body[at] === '{') depth++
    else if (body[at] === '}') depth--
    else if (at === body.length || (body[at] === ',' && depth === 0)) {
      branches.push(body.slice(from, at))
      from = at + 1
    }
  }
  return branches.filter((branch) => branch.trim() !== '').flatMap((branch) => expand(branch, [...before, ...head]))
}

/** The modules of a crate, by their paths: `tier::code` is the file tier/code.rs, `` is lib.rs. */
function modules(source) {
  const all = new Map()
  const folder = path.join(ROOT, source)
  for (const entry of fs.readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.rs') || entry.name.endsWith('_tests.rs')) continue
    const file = path
      .relative(folder, path.join(entry.parentPath ?? entry.path, entry.name))
      .split(path.sep)
      .join('/')
    const name = file
      .replace(/\.rs$/, '')
      .split('/')
      .filter((part) => part !== 'mod' && part !== 'lib')
      .join('::')
    const text = code(fs.readFileSync(path.join(folder, file), 'utf8'))
    const uses = [...text.matchAll(/\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);/g)].flatMap(([, isPublic, tree]) =>
      expand(tree).map((use) => ({ ...use, isPublic: isPublic !== undefined }))
    )
    all.set(name, { file: CRATES[source] + file, name, text, uses, children: new Set() })
  }
  for (const name of all.keys()) {
    if (name === '') continue
    const parts = name.split('::')
    all.get(parts.slice(0, -1).join('::')).children.add(parts.at(-1))
  }
  return all
}

/** Where a path leads that `module` names: to a module, and to what of it (undefined: to all of it); or out of the crate. */
function resolve(all, module, parts) {
  const [first, ...rest] = parts
  let at = module.name === '' ? [] : module.name.split('::')
  if (first === 'crate') at = []
  else if (first === 'super') at = at.slice(0, -1)
  else if (module.children.has(first)) at = [...at, first]
  else if (first !== 'self') return undefined
  while (rest[0] === 'super') {
    rest.shift()
    at = at.slice(0, -1)
  }
  let found = all.get(at.join('::'))
  while (rest.length > 0 && found.children.has(rest[0])) {
    at = [...at, rest.shift()]
    found = all.get(at.join('::'))
  }
  const item = rest[0]
  const again = item !== undefined && found.uses.find((use) => use.isPublic && use.name === item)
  return again ? (resolve(all, found, again.parts) ?? { found, item }) : { found, item }
}

/** Whom each file names. */
function graph(all) {
  const edges = new Map()
  for (const module of all.values()) {
    const named = new Set()
    const add = (parts) => {
      const to = resolve(all, module, parts)
      if (to === undefined) return undefined
      // A folder's own file has nothing that is not exported from elsewhere.
      if (to.item !== undefined || to.found.children.size === 0) named.add(to.found.name)
      return to
    }
    for (const { parts, name, isPublic } of module.uses) {
      if (isPublic && module.children.size > 0) continue
      const to = add(parts)
      if (to === undefined || to.item !== undefined || to.found.children.size === 0) continue
      for (const [, item] of module.text.matchAll(new RegExp(`(?<![:\\w])${name}::(\\w+)`, 'g'))) add([...parts, item])
    }
    const body = module.text.replace(/\buse\s+[^;]+;/g, '')
    for (const [whole] of body.matchAll(/\b(?:crate|super)(?:::\w+)+/g)) add(whole.split('::'))
    named.delete(module.name)
    edges.set(module.name, named)
  }
  return edges
}

/** Tarjan's strongly connected components, of more than one file each. */
function circles(edges) {
  const state = new Map()
  const stack = []
  const found = []
  const visit = (name) => {
    const mine = { index: state.size, low: state.size, open: true }
    state.set(name, mine)
    stack.push(name)
    for (const next of edges.get(name)) {
      const other = state.get(next) ?? visit(next)
      if (other.open) mine.low = Math.min(mine.low, other.low)
    }
    if (mine.low === mine.index) {
      const component = stack.splice(stack.indexOf(name))
      for (const member of component) state.get(member).open = false
      if (component.length > 1) found.push(component)
    }
    return mine
  }
  for (const name of edges.keys()) if (!state.has(name)) visit(name)
  return found
}

/** The same between folders: whom the files of each name outside of it. */
function folders(all, edges) {
  const folderOf = (name) => name.split('::')[0]
  const found = new Map([...all.keys()].map((name) => [folderOf(name), new Set()]))
  for (const [name, named] of edges) {
    for (const other of named) if (folderOf(other) !== folderOf(name)) found.get(folderOf(name)).add(folderOf(other))
  }
  return found
}

/** The circles that ARCHITECTURE.md names: a row of its table each, the files in the first column. */
function named() {
  const text = fs.readFileSync(path.join(ROOT, 'ARCHITECTURE.md'), 'utf8')
  const section = /\n## Halves\n([^]*?)(?=\n## )/.exec(text)?.[1] ?? ''
  const rows = [...section.matchAll(/^\| (`[^|]*`) \|/gm)]
  return rows.map(([, files]) =>
    [...files.matchAll(/`([^`]+)`/g)]
      .map(([, file]) => file)
      .sort()
      .join(', ')
  )
}

const list = process.argv.includes('--list')
const found = []
const problems = []
for (const source of Object.keys(CRATES)) {
  const all = modules(source)
  const edges = graph(all)
  const file = (name) => all.get(name).file
  for (const circle of circles(edges)) {
    found.push(circle.map(file).sort().join(', '))
    const within = (name) => [...edges.get(name)].filter((to) => circle.includes(to)).map(file)
    if (list) for (const name of circle) console.log(`${file(name)} -> ${within(name).join(', ')}`)
  }
  if ([...all.keys()].some((name) => name.includes('::'))) {
    for (const circle of circles(folders(all, edges))) problems.push(`a circle of folders in ${source}: ${circle.join(', ')}`)
  }
}
const known = named()
for (const circle of found) if (!known.includes(circle)) problems.push(`a circle that ARCHITECTURE.md does not name: ${circle}`)
for (const circle of known) {
  if (!found.includes(circle)) problems.push(`no circle any more, though ARCHITECTURE.md names it: ${circle}`)
}
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
else console.log(`${found.length} circles of files, all of them named.`)
