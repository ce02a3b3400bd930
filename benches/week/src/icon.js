'use strict'

const fs = require('node:fs')
const { initWasm, Resvg } = require('@resvg/resvg-wasm')

const SVG = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">
  <defs>
    <linearGradient id="fill"><stop stop-color="#fc3"/><stop offset="1" stop-color="#c36"/></linearGradient>
    <filter id="shadow"><feGaussianBlur in="SourceAlpha" stdDeviation="2"/><feOffset dx="2" dy="3"/><feMerge><feMergeNode/><feMergeNode in="SourceGraphic"/></feMerge></filter>
  </defs>
  <g filter="url(#shadow)">
    <circle cx="50" cy="50" r="40" fill="url(#fill)"/>
    <path d="M20 60 C 40 20, 60 90, 80 35" stroke="#fff" stroke-width="6" stroke-dasharray="12 4" fill="none"/>
  </g>
</svg>`

let ready

/** The icon as PNG. */
async function icon(width) {
  ready ??= initWasm(fs.readFileSync(require.resolve('@resvg/resvg-wasm/index_bg.wasm')))
  await ready
  return new Resvg(SVG, { fitTo: { mode: 'width', value: width } }).render().asPng()
}

module.exports = { icon }
