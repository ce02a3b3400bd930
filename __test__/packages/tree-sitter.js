'use strict'
// web-tree-sitter with three grammars: four modules, linked dynamically (one memory, one table, GOT
// globals). Python's grammar brings a scanner of its own, CSS's is below the size from which the cache
// keeps modules. Parses, edits, parses again, runs queries.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

const read = (file) => fs.readFileSync(file, 'utf8')

const python = `# -*- coding: utf-8 -*-
from __future__ import annotations
import re, sys as system

class Émile(Base[int], metaclass=Meta):
    """Doc
    string"""
    table: dict[str, list[int]] = {f"{k!r:>{width}}": [*v, 1_000j] for k, v in ()}

    @decorator(lambda *a, **k: 0x_ff)
    async def function(self, /, x: int = 3, *, y) -> None:
        async with a as (b, c), d:
            match x:
                case {"k": [1, *_], **rest} if (n := len(rest)) > 1e-3: yield n
                case Point(x=0) | None: return
        try:
            raise ValueError from None
        except* (TypeError, ValueError) as group: pass
        finally:
            if not x <= y != 3: print(r'\\d+', b"\\x00", sep='')
            else: call(  # a syntax error:
                1 +, 2)
`.repeat(40)

run(async () => {
  const { Parser, Language, Query } = require('web-tree-sitter')
  await Parser.init()
  const jobs = [
    {
      language: await Language.load(require.resolve('tree-sitter-javascript/tree-sitter-javascript.wasm')),
      query: '(function_declaration name: (identifier) @name) (call_expression function: (identifier) @call)',
      sources: ['hash-wasm/dist/index.umd.js', 'esbuild-wasm/lib/main.js'].map((name) => read(require.resolve(name))),
      insert: ['function', 'async '],
    },
    {
      language: await Language.load(require.resolve('tree-sitter-python/tree-sitter-python.wasm')),
      query: '(function_definition name: (identifier) @name) (ERROR) @error ((identifier) @self (#eq? @self "self"))',
      sources: [python],
      insert: ['class', 'x = """'],
    },
    {
      language: await Language.load(require.resolve('tree-sitter-css/tree-sitter-css.wasm')),
      query: '(declaration (property_name) @property (_) @value) (pseudo_class_selector) @pseudo',
      sources: [read(path.join(__dirname, 'styles.css')).repeat(8)],
      insert: ['.card', '/* '],
    },
  ].map((job) => ({ ...job, query: new Query(job.language, job.query) }))

  return async () => {
    const parser = new Parser()
    const outputs = []
    for (const {
      language,
      query,
      sources,
      insert: [before, text],
    } of jobs) {
      parser.setLanguage(language)
      outputs.push(`${language.name} ${language.abiVersion} ${language.nodeTypeCount} ${language.fields.join()}`)
      for (const source of sources) {
        const tree = parser.parse(source)
        outputs.push(tree.rootNode.toString())
        outputs.push(
          query
            .captures(tree.rootNode)
            .map(({ name, node }) => `${name} ${node.startIndex} ${node.text}`)
            .join('\n')
        )
        const at = source.indexOf(before)
        const row = source.slice(0, at).split('\n').length - 1
        const column = at - source.lastIndexOf('\n', at) - 1
        tree.edit({
          startIndex: at,
          oldEndIndex: at,
          newEndIndex: at + text.length,
          startPosition: { row, column },
          oldEndPosition: { row, column },
          newEndPosition: { row, column: column + text.length },
        })
        const edited = parser.parse(source.slice(0, at) + text + source.slice(at), tree)
        outputs.push(JSON.stringify(tree.getChangedRanges(edited)), edited.rootNode.toString())
        edited.delete()
        tree.delete()
      }
    }
    parser.delete()
    return outputs
  }
})
