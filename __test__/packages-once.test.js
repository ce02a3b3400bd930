'use strict'
// Real packages, one of each kind of glue code: the engine is the same on every Node.

const { gives } = require('./support/packages.js')

gives('esbuild-cli', { cached: 1, command: true, slow: true })
gives('rollup', { cached: 1 })
gives('webp', { cached: 2 })
gives('esbuild-api', { cached: 1, slow: true })
gives('esbuild-browser', { cached: 1, slow: true })
gives('swc', { cached: 1, slow: true })
gives('tree-sitter', { cached: 3, slow: true })
gives('resvg', { cached: 1, slow: true })
gives('lightningcss', { cached: 1, slow: true })
gives('oxigraph', { cached: 1, slow: true })
gives('assemblyscript', { cached: 1, slow: true })
gives('stockfish', { cached: 1, slow: true })
gives('ripgrep', { cached: 1, slow: true })
gives('ripgrep-cli', { cached: 1, command: true, slow: true })
gives('mupdf', { cached: 1, slow: true })
