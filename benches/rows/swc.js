'use strict'

const path = require('node:path')
const { swc } = require('../modules.js')

module.exports = {
  name: 'swc',
  title: '@swc/wasm transforms a file of 89 kB',
  how: 'A fresh process that minifies one file down to ES5, from its start to its end. All columns give the same output.',
  modules: () => [swc()],
  args: () => [path.join(__dirname, '../programs/swc.js')],
}
