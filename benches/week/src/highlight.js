'use strict'

const { Language, Parser, Query } = require('web-tree-sitter')

const QUERY =
  '(function_declaration name: (identifier) @function) (call_expression function: (identifier) @call) (comment) @comment'

/** Where in a text of JavaScript there is something to be coloured. */
async function highlight(text) {
  await Parser.init()
  const language = await Language.load(require.resolve('tree-sitter-javascript/tree-sitter-javascript.wasm'))
  const parser = new Parser()
  parser.setLanguage(language)
  const tree = parser.parse(text)
  const found = new Query(language, QUERY).captures(tree.rootNode)
  return found.map(({ name, node }) => [name, node.startIndex, node.endIndex])
}

module.exports = { highlight }
