'use strict'

// The pages that people read: what is on them.

const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.join(__dirname, '../..')

const below = (folder) =>
  fs.readdirSync(path.join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const name = `${folder}/${entry.name}`
    return entry.isDirectory() ? below(name) : [name]
  })

/** By their names below the root. */
const PAGES = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  'examples/README.md',
  ...below('docs').filter((name) => name.endsWith('.md')),
]

const textOf = (page) => fs.readFileSync(path.join(ROOT, page), 'utf8')

const BLOCK = /^(?:<!-- not run: (.+) -->\n)?```(\w*)\n([^]*?)^```$/gm

/**
 * The fenced blocks of a page.
 *
 * @returns {{page: string, line: number, language: string, code: string, reason?: string}[]} `reason`: why it is not run
 */
const blocksOf = (page) => {
  const text = textOf(page)
  return [...text.matchAll(BLOCK)].map(({ 1: reason, 2: language, 3: code, index }) => {
    const line = text.slice(0, index).split('\n').length
    return { page, line, language, code, reason }
  })
}

/** A page without its code. */
const proseOf = (page) =>
  textOf(page)
    .replaceAll(BLOCK, '')
    .replaceAll(/`[^`\n]*`/g, (code) => code.replaceAll(/[[\]()]/g, ' '))

/** The relative links of a page: the file below the root, and the anchor. */
const linksOf = (page) => {
  const found = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)|^\[[^\]]+\]: (\S+)$/gm)].map(
    ([, inline, reference]) => inline ?? reference
  )
  return found
    .filter((target) => !/^[a-z]+:/.test(target))
    .map((target) => {
      const [name, anchor] = target.split('#')
      const file = name === '' ? page : path.posix.join(path.posix.dirname(page), name)
      return { target, file, anchor }
    })
}

/** The anchors of a page, as GitHub makes them of its headings. */
const anchorsOf = (page) => {
  const headings = [
    ...textOf(page)
      .replaceAll(BLOCK, '')
      .matchAll(/^#+ (.+)$/gm),
  ].map(([, heading]) => heading)
  const shown = headings.map((heading) => heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase())
  return shown.map((heading) => heading.replaceAll(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-'))
}

module.exports = { PAGES, ROOT, anchorsOf, blocksOf, linksOf, textOf }
