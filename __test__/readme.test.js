'use strict'

// The README's JavaScript snippets, run as they stand: each in a process of its own, in a folder where the package is
// installed, app.wasm lies beside the snippet, and https://example.com/ is a local server.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')

const ROOT = path.join(__dirname, '..')
const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8')

/** The fenced blocks of a language, with the line of the README they begin at. */
const snippets = [...readme.matchAll(/^```js\n([^]*?)^```$/gm)].map((match) => ({
  line: readme.slice(0, match.index).split('\n').length,
  code: match[1],
}))

const APP = `(module
  (import "env" "log" (func $log (param i32)))
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))`

// What the snippets call https://example.com/ is at $README_TEST_SERVER.
const PRELOAD = `
const { fetch } = globalThis
globalThis.fetch = (url, init) => fetch(String(url).replace('https://example.com/', process.env.README_TEST_SERVER), init)
`

let folder
let server
let address

test.before(async () => {
  const wabt = await require('wabt')()
  const { buffer: app } = wabt.parseWat('app.wat', APP).toBinary({})

  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-readme-'))
  fs.mkdirSync(path.join(folder, 'node_modules'))
  fs.symlinkSync(ROOT, path.join(folder, 'node_modules', 'wasm-compile-cache'), 'junction')
  fs.writeFileSync(path.join(folder, 'app.wasm'), app)
  fs.writeFileSync(path.join(folder, 'preload.cjs'), PRELOAD)

  server = http.createServer((request, response) => {
    response.writeHead(request.url === '/app.wasm' ? 200 : 404, { 'content-type': 'application/wasm' }).end(app)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${server.address().port}/`
})

test.after.always(() => {
  server?.close()
  if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true })
})

test('the README has snippets', (t) => {
  t.true(snippets.length >= 4)
})

for (const { line, code } of snippets) {
  test(`the snippet at line ${line} of the README runs`, async (t) => {
    const file = path.join(folder, `line-${line}.mjs`)
    fs.writeFileSync(file, code)
    const { error, stdout, stderr } = await new Promise((resolve) => {
      const env = { ...process.env, README_TEST_SERVER: address }
      execFile(process.execPath, ['--require', path.join(folder, 'preload.cjs'), file], { cwd: folder, env },
        (error, stdout, stderr) => resolve({ error, stdout, stderr }))
    })
    t.is(error, null, stderr)
    // Each prints something, and those that call add(1, 2) print its result.
    t.not(stdout, '')
    if (code.includes('.add(1, 2)')) t.regex(stdout, /^3$/m)
  })
}

test('what the README says about options is what index.d.ts says', (t) => {
  const types = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8')
  const documented = [...readme.matchAll(/^\| `(partition|cache|minSize|optimize|signal)` \| (?:`([^`]*)`|none)/gm)]
  t.is(documented.length, 5)
  for (const [, name, value] of documented) {
    if (value !== undefined) t.regex(types, new RegExp(`Default: \`${value}\`[^/]*\\*/\\s+${name}\\?:`), name)
  }
})

test('every event of the README is published, and the other way round', (t) => {
  const { NAMES } = require('../lib/events.js')
  const table = readme.slice(readme.indexOf('| name | when |'))
  const documented = [...table.matchAll(/^\| `(\w+)` \| /gm)].map((match) => match[1])
  t.deepEqual(documented.sort(), [...NAMES].sort())
})

test('the links of the README lead to files', (t) => {
  for (const [, target] of readme.matchAll(/\]\((?!https?:|#)([^)]+)\)/g)) {
    if (target === 'benches/results.svg') continue // made by `npm run bench`
    t.true(fs.existsSync(path.join(ROOT, target)), target)
  }
})
