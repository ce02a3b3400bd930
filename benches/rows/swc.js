'use strict'

const path = require('node:path')
const { swc } = require('../modules.js')

module.exports = {
  name: 'swc',
  title: '@swc/wasm transforms a file of 89 kB',
  modules: () => [swc()],
  args: () => [path.join(__dirname, '../programs/swc.js')],
}
