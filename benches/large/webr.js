'use strict'
// webR: R in a worker thread, and a bit of statistics.

const { WebR } = require('webr')

async function main() {
  const R = new WebR({ interactive: false })
  await R.init()
  console.log(await R.evalRString('paste(format(summary(lm(dist ~ speed, cars))$r.squared, digits = 8), R.version$major)'))
  R.close()
  process.exit(0)
}

main()
