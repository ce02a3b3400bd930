'use strict'
// npm start: one answer, as a container gives it that is started for it.

const { createHash } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const { report } = require('./src/database.js')
const { highlight } = require('./src/highlight.js')
const { icon } = require('./src/icon.js')

async function main() {
  const text = fs.readFileSync(path.join(__dirname, 'build.js'), 'utf8')
  const answer = [await report(5000), await highlight(text)]
  console.log(
    createHash('sha256')
      .update(JSON.stringify(answer))
      .update(await icon(256))
      .digest('hex')
  )
}

main()
