'use strict'

// Runs the snippets of a page, one after the other: `node snippets.js <file>...`. Before each it prints a line with the
// snippet's name. What they call https://example.com/ is at $PAGES_SERVER.

const path = require('node:path')
const { pathToFileURL } = require('node:url')

const { fetch } = globalThis
globalThis.fetch = (url, init) => fetch(String(url.url ?? url).replace('https://example.com/', process.env.PAGES_SERVER), init)

async function main() {
  for (const file of process.argv.slice(2)) {
    console.log(`# ${path.basename(file)}`)
    await import(pathToFileURL(file))
  }
}

main()
