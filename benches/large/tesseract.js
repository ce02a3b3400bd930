'use strict'
// tesseract.js-core, with SIMD: the engine is made, and asked for its version. Recognising something takes data of a language.

const core = require('tesseract.js-core/tesseract-core-simd.js')

async function main() {
  const engine = await core()
  const api = new engine.TessBaseAPI()
  console.log(api.Version())
}

main()
