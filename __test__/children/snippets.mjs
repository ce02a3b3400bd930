// Runs the snippets of a page, one after the other: `node snippets.mjs <file>...`. Before each it prints a line with the
// snippet's name. What they call https://example.com/ is at $PAGES_SERVER.

import path from 'node:path'
import { pathToFileURL } from 'node:url'

const { fetch } = globalThis
globalThis.fetch = (url, init) => fetch(String(url).replace('https://example.com/', process.env.PAGES_SERVER), init)

for (const file of process.argv.slice(2)) {
  console.log(`# ${path.basename(file)}`)
  await import(pathToFileURL(file))
}
