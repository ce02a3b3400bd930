'use strict'
// @jsquash/webp: libwebp's encoder (its SIMD build) and decoder. In Node the modules are compiled by
// hand and given to it; ImageData is all that it misses of a browser.

const fs = require('node:fs')
const { run } = require('./loop.js')

globalThis.ImageData ??= class ImageData {
  constructor(data, width, height) {
    Object.assign(this, { data, width, height })
  }
}

function picture(width, height) {
  const data = new Uint8ClampedArray(width * height * 4)
  let seed = 7
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
      const at = (y * width + x) * 4
      data[at] = 128 + 127 * Math.sin(x / 17 + y / 29)
      data[at + 1] = (x * y) >> 6
      data[at + 2] = (seed >>> 27) + ((x ^ y) & 128)
      data[at + 3] = y < height / 3 ? 255 - (x & 63) : 255
    }
  }
  return { data, width, height }
}

run(async () => {
  const encode = await import('@jsquash/webp/encode.js')
  const decode = await import('@jsquash/webp/decode.js')
  const compiled = (name) => WebAssembly.compile(fs.readFileSync(require.resolve(`@jsquash/webp/codec/${name}.wasm`)))
  await encode.init(await compiled('enc/webp_enc_simd'))
  await decode.init(await compiled('dec/webp_dec'))
  const images = [picture(320, 200), picture(61, 97)]
  return async () => {
    const outputs = []
    for (const image of images) {
      for (const options of [
        { quality: 40, method: 6 },
        { quality: 90, use_sharp_yuv: 1, segments: 2 },
        { lossless: 1, exact: 1 },
        { near_lossless: 60, alpha_quality: 30 },
      ]) {
        const file = new Uint8Array(await encode.default(image, options))
        const { data, width, height } = await decode.default(file.buffer)
        outputs.push(file, Buffer.from(data.buffer, data.byteOffset, data.byteLength), `${width} ${height}`)
      }
    }
    outputs.push(await decode.default(new Uint8Array(100).buffer).then(String, (error) => `${error.name}: ${error.message}`))
    return outputs
  }
})
