// What build.js bundles for browsers.

import { Language, Parser } from 'web-tree-sitter'

const LIMIT = 100_000

export async function outline(text, url) {
  if (text.length > LIMIT) throw new RangeError(`more than ${LIMIT} characters`)
  await Parser.init()
  const parser = new Parser()
  parser.setLanguage(await Language.load(url))
  return [...functionsOf(parser.parse(text).rootNode)].map(({ text: name }) => name)
}

function* functionsOf(node) {
  for (const child of node.namedChildren) {
    if (child.type === 'function_declaration') yield child.childForFieldName('name')
    yield* functionsOf(child)
  }
}
