'use strict'
// @biomejs/js-api on @biomejs/wasm-nodejs: a file, formatted.

const { Biome } = require('@biomejs/js-api/nodejs')

const biome = new Biome()
const { projectKey } = biome.openProject('/')
const content =
  "const list=[1,2,3].map(function(x){return x*2});\nif(list.length>2){console.log('many',list)}else console.log( list )\n"
console.log(biome.formatContent(projectKey, content, { filePath: '/file.js' }).content)
