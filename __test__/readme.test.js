'use strict'

// The README's snippets, run as they stand. JavaScript: each in a process of its own, in a folder where the package is
// installed, app.wasm lies beside the snippet, a module is in the cache, and https://example.com/ is a local server. Commands: one after the other in
// such a folder; every line that the README shows is one that they print, but for numbers, hashes and the folders' names.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')

const { cache, compile, Module } = require('..')
const { keyPair } = require('./support/archives.js')

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

const DECODER = '@jsquash/webp/codec/dec/webp_dec.wasm'

/** The program of the README's command line. */
const APP_JS = `
const { readFileSync } = require('node:fs')
const { Module } = require('wasm-compile-cache')
WebAssembly.compile(readFileSync(require.resolve(${JSON.stringify(DECODER)}))).then((module) => {
  console.log('webp_dec.wasm runs', Module.tier(module) === 'optimized' ? 'optimised code' : 'code of the baseline tier')
})
`

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
  fs.cpSync(path.dirname(require.resolve('@jsquash/webp/package.json')), path.join(folder, 'node_modules/@jsquash/webp'), { recursive: true })
  fs.writeFileSync(path.join(folder, 'app.js'), APP_JS)
  fs.writeFileSync(path.join(folder, 'app.wasm'), app)
  fs.writeFileSync(path.join(folder, 'preload.cjs'), PRELOAD)
  const { privateKey, publicKey } = keyPair(folder)
  fs.renameSync(privateKey, path.join(folder, 'private.pem'))
  fs.renameSync(publicKey, path.join(folder, 'public.pem'))
  await Module.optimized(await compile(app, { minSize: 0 }))
  await cache.flush()

  server = http.createServer((request, response) => {
    response.writeHead(request.url === '/app.wasm' ? 200 : 404, { 'content-type': 'application/wasm' }).end(app)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${server.address().port}/`
})

test.after.always(() => {
  server?.close()
  if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
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

const MAIN = path.join(ROOT, require('../package.json').bin['wasm-compile-cache'])
const PROMPT = '$ npx wasm-compile-cache '

/** The commands of the README, each with the lines that are shown of what it prints. */
const shown = [...readme.matchAll(/^```console\n([^]*?)^```$/gm)].flatMap(([, block]) =>
  block.split(PROMPT).slice(1).map((part) => {
    const [command, ...lines] = part.trimEnd().split('\n')
    return { command, lines }
  }))

/** A line without what differs from run to run. */
const comparable = (line, names) => {
  for (const [from, to] of names) line = line.replaceAll(from, to)
  return line.replace(/\b[0-9a-f]{12}\b/g, 'HASH').replace(/[\d.]+ (ms|s|bytes?|[kMG]B)\b/g, 'N').replace(/\d+/g, 'N').replace(/ {2,}/g, '  ')
}

test('the README shows every command of the command line', (t) => {
  const commands = fs.readFileSync(MAIN, 'utf8').match(/require\('\.\/\w+\.js'\),/g).map((line) => line.slice(11, -6))
  t.deepEqual([...new Set(shown.map(({ command }) => command.split(' ')[0]))].sort(), commands.sort())
})

test.serial('the commands of the README print what it shows', async (t) => {
  const cache = path.join(folder, 'the-cache')
  const inReadme = [['/home/me/.cache/wasm-compile-cache', cache], ['/app', fs.realpathSync(folder)]]
  const env = { ...process.env, WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' }
  for (const { command, lines } of shown) {
    const printed = await new Promise((resolve) => {
      execFile(process.execPath, [MAIN, ...command.split(' ')], { cwd: folder, env }, (_error, stdout, stderr) => resolve(stdout + stderr))
    })
    const found = printed.split('\n').map((line) => comparable(line, []))
    t.true(lines.length > 0, command)
    for (const line of lines) t.true(found.includes(comparable(line, inReadme)), `${command}: ${line}\n${printed}`)
  }
})

test('what the README says about options is what index.d.ts says', (t) => {
  const types = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8')
  const documented = [...readme.matchAll(/^\| `(partition|cache|minSize|optimize|signal)` \| (?:`([^`]*)`|none)/gm)]
  t.is(documented.length, 5)
  for (const [, name, value] of documented) {
    if (value !== undefined) t.regex(types, new RegExp(`Default: \`${value}\`[^/]*\\*/\\s+${name}\\?:`), name)
  }
})

test('every event of the README is published, and the other way round', (t) => {
  const { NAMES } = require('../dist/engine.js').load('events.js')
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
