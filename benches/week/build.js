'use strict'
// npm run build: the page's script, bundled and for older browsers, and the icon in three sizes.

const { createHash } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { rollup } = require('@rollup/wasm-node')
const swc = require('@swc/wasm')
const { icon } = require('./src/icon.js')

const DIST = path.join(__dirname, 'dist')
const PACKAGE = path.join(path.dirname(require.resolve('web-tree-sitter')), 'web-tree-sitter.js')

async function main() {
  const bundle = await rollup({
    input: path.join(__dirname, 'src/page.mjs'),
    external: (id) => /^(?:node:|fs|module|path)/.test(id),
    plugins: [{ name: 'packages', resolveId: (id) => (id === 'web-tree-sitter' ? PACKAGE : null) }],
    onwarn() {},
  })
  const { output } = await bundle.generate({ format: 'es' })
  const { code } = swc.transformSync(output[0].code, {
    jsc: { target: 'es5', minify: { compress: true, mangle: true } },
    minify: true,
  })
  fs.mkdirSync(DIST, { recursive: true })
  const files = { 'page.js': code }
  for (const width of [32, 128, 512]) files[`icon-${width}.png`] = await icon(width)
  const hash = createHash('sha256')
  for (const [name, data] of Object.entries(files)) {
    fs.writeFileSync(path.join(DIST, name), data)
    hash.update(data)
  }
  console.log(hash.digest('hex'))
}

main()
