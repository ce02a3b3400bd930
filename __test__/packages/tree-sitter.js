'use strict'
// web-tree-sitter with the grammar of JavaScript: two modules, linked dynamically (one memory, one
// table, GOT globals). Parses large files, edits one, runs a query.

const fs = require('node:fs')
const { run } = require('./loop.js')

run(async () => {
  const { Parser, Language, Query } = require('web-tree-sitter')
  await Parser.init()
  const javascript = await Language.load(require.resolve('tree-sitter-javascript/tree-sitter-javascript.wasm'))
  const query = new Query(javascript, '(function_declaration name: (identifier) @name) (call_expression function: (identifier) @call)')
  const sources = ['hash-wasm/dist/index.umd.js', 'esbuild-wasm/lib/main.js'].map((name) => fs.readFileSync(require.resolve(name), 'utf8'))
  return async () => {
    const parser = new Parser()
    parser.setLanguage(javascript)
    const outputs = []
    for (const source of sources) {
      const tree = parser.parse(source)
      outputs.push(tree.rootNode.toString())
      outputs.push(query.captures(tree.rootNode).map(({ name, node }) => `${name} ${node.startIndex} ${node.text}`).join('\n'))
      const at = source.indexOf('function')
      const row = source.slice(0, at).split('\n').length - 1
      const column = at - source.lastIndexOf('\n', at) - 1
      tree.edit({
        startIndex: at,
        oldEndIndex: at,
        newEndIndex: at + 6,
        startPosition: { row, column },
        oldEndPosition: { row, column },
        newEndPosition: { row, column: column + 6 },
      })
      const edited = parser.parse(source.slice(0, at) + 'async ' + source.slice(at), tree)
      outputs.push(JSON.stringify(tree.getChangedRanges(edited)), edited.rootNode.toString())
      edited.delete()
      tree.delete()
    }
    parser.delete()
    return outputs
  }
})
