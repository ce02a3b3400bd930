'use strict'
// @resvg/resvg-wasm: a picture with gradients, filters, clips, dashes and text in two fonts, as PNG.

const fs = require('node:fs')
const path = require('node:path')
const { run } = require('./loop.js')

run(async () => {
  const { initWasm, Resvg } = require('@resvg/resvg-wasm')
  await initWasm(fs.readFileSync(require.resolve('@resvg/resvg-wasm/index_bg.wasm')))
  const svg = fs.readFileSync(path.join(__dirname, 'picture.svg'), 'utf8')
  const fonts = path.join(path.dirname(require.resolve('dejavu-fonts-ttf/package.json')), 'ttf')
  const fontBuffers = ['DejaVuSans.ttf', 'DejaVuSerif-Bold.ttf'].map((name) => fs.readFileSync(path.join(fonts, name)))
  return async () => {
    const outputs = []
    for (const width of [160, 480]) {
      const resvg = new Resvg(svg, {
        fitTo: { mode: 'width', value: width },
        font: { fontBuffers, loadSystemFonts: false, defaultFontFamily: 'DejaVu Sans' },
      })
      const image = resvg.render()
      outputs.push(image.asPng(), image.pixels, resvg.toString())
      image.free()
      resvg.free()
    }
    return outputs
  }
})
