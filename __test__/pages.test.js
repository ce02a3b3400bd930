'use strict'

// The pages that people read, README.md and docs/: their snippets run as they stand, their links lead somewhere, and what
// they list is what there is.
//
// In a folder with an installation of the package, app.wasm, app.js, and two modules in the cache, of which app.wasm is one;
// https://example.com/ is a local server.
//   js               all of a page in one process, in their order. Each prints something, and a comment behind console.log is
//                    what that prints
//   console          commands and what they print, a page's one after the other: every line that is shown is one that they
//                    print, but for numbers, hashes and the folders' names
//   sh               commands that end with 0
//   dockerfile       what it runs of this package, and its command
//   text             is shown
// Whatever else there is needs a comment in the line before, `<!-- not run: the reason -->`.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')

const { cache, compile, Module } = require('..')
const benchmark = require('../benches/report.js')
const { keyPair } = require('./support/archives.js')
const { PAGES, ROOT, anchorsOf, blocksOf, linksOf, textOf } = require('./support/pages.js')
const { remove } = require('./support/remove.js')

const APP = `(module
  (import "env" "log" (func $log (param i32)))
  (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))`

const DECODER = '@jsquash/webp/codec/dec/webp_dec.wasm'

/** The program of the commands. */
const APP_JS = `
const { readFileSync } = require('node:fs')
const { Module } = require('wasm-compile-cache')
WebAssembly.compile(readFileSync(require.resolve(${JSON.stringify(DECODER)}))).then((module) => {
  console.log('webp_dec.wasm runs', Module.tier(module) === 'optimized' ? 'optimised code' : 'code of the baseline tier')
})
`

const SNIPPETS = path.join(__dirname, 'children/snippets.js')
const MAIN = path.join(ROOT, require('../package.json').bin['wasm-compile-cache'])

const blocks = PAGES.flatMap(blocksOf)

/** The blocks of a language that are run, page by page. */
const runnable = (language) => {
  const found = new Map()
  for (const block of blocks) {
    if (block.language !== language || block.reason !== undefined) continue
    found.set(block.page, [...(found.get(block.page) ?? []), block])
  }
  return [...found]
}

let home
let server
let address
const folders = []

/** A folder with an installation, a program and a module. */
function project(modules) {
  const folder = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-pages-')))
  folders.push(folder)
  const installed = path.join(folder, 'node_modules/wasm-compile-cache')
  fs.mkdirSync(installed, { recursive: true })
  // Without the checkout's node_modules, which no installation has.
  fs.copyFileSync(path.join(ROOT, 'package.json'), path.join(installed, 'package.json'))
  for (const name of ['index.js', 'register.js']) {
    fs.writeFileSync(path.join(installed, name), `module.exports = require(${JSON.stringify(path.join(ROOT, name))})`)
  }
  const webp = path.dirname(require.resolve('@jsquash/webp/package.json'))
  fs.cpSync(path.join(webp, modules), path.join(folder, 'node_modules/@jsquash/webp', modules), { recursive: true })
  fs.copyFileSync(path.join(webp, 'package.json'), path.join(folder, 'node_modules/@jsquash/webp/package.json'))
  fs.writeFileSync(path.join(folder, 'app.js'), APP_JS)
  return folder
}

test.before(async () => {
  const wabt = await require('wabt')()
  const { buffer: app } = wabt.parseWat('app.wat', APP).toBinary({})

  home = project('codec')
  fs.writeFileSync(path.join(home, 'app.wasm'), app)
  const { privateKey, publicKey } = keyPair(home)
  fs.renameSync(privateKey, path.join(home, 'private.pem'))
  fs.renameSync(publicKey, path.join(home, 'public.pem'))
  for (const bytes of [app, fs.readFileSync(path.join(home, 'node_modules', DECODER))]) {
    await Module.optimized(await compile(bytes, { minSize: 0 }))
  }
  await cache.flush()

  server = http.createServer((request, response) => {
    response.writeHead(request.url === '/app.wasm' ? 200 : 404, { 'content-type': 'application/wasm' }).end(app)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  address = `http://127.0.0.1:${server.address().port}/`
})

test.after.always(() => {
  server?.close()
  for (const folder of folders) remove(folder)
})

/** A process of Node, with what it printed. */
const node = (args, { cwd = home, env = {} } = {}) =>
  new Promise((resolve) => {
    execFile(process.execPath, args, { cwd, env: { ...process.env, ...env } }, (error, stdout, stderr) =>
      resolve({ error, stdout, stderr })
    )
  })

/** A command as a page has it: variables, then node or this package's command line. */
function command(text, { cwd, env } = {}) {
  const words = text
    .replace(/ +# .*$/, '')
    .match(/(?:[^\s"']|"[^"]*"|'[^']*')+/g)
    .map((word) => word.replaceAll(/["']/g, '').replace('$PWD', cwd ?? home))
  const variables = {}
  while (/^[A-Z_]+=/.test(words[0])) {
    const [name] = words[0].split('=', 1)
    variables[name] = words.shift().slice(name.length + 1)
  }
  const [program, ...args] = words
  if (program === 'npx' && args[0] === 'wasm-compile-cache') args[0] = MAIN
  else if (program !== 'node') throw new Error(`a page has a command that cannot be run here: ${text}`)
  return node(args, { cwd, env: { ...env, ...variables } })
}

// ── JavaScript ──────────────────────────────────────────────────────────────────────────────────────────────────────

/** What a snippet says that it prints. */
const promised = (code) => [...code.matchAll(/console\.log\(.*\) *\/\/ (.+)$/gm)].map(([, text]) => text)

for (const [page, snippets] of runnable('js')) {
  test(`the snippets of ${page} run`, async (t) => {
    const files = snippets.map(({ line, code }) => {
      const file = path.join(home, `${path.basename(page, '.md')}-line-${line}.mjs`)
      fs.writeFileSync(file, code)
      return file
    })
    const { error, stdout, stderr } = await node([SNIPPETS, ...files], { env: { PAGES_SERVER: address } })
    t.is(error, null, `${stdout}\n${stderr}`)
    const printed = stdout.split(/^# .+\.mjs$/m).slice(1)
    t.is(printed.length, snippets.length)
    for (const [index, { code, line }] of snippets.entries()) {
      const lines = printed[index].replaceAll(cache.directory, '/home/me/.cache/wasm-compile-cache').split('\n')
      t.not(printed[index].trim(), '', `the snippet at line ${line} prints nothing`)
      for (const text of promised(code)) t.true(lines.includes(text), `line ${line}: ${text}\n${printed[index]}`)
    }
  })
}

// ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The commands of a transcript, each with the lines that are shown of what it prints. */
const shown = (code) =>
  code
    .split(/^\$ /m)
    .slice(1)
    .map((part) => {
      const [text, ...lines] = part.trimEnd().split('\n')
      return { text, lines }
    })

/** A line without what differs from run to run. */
const comparable = (line, names) => {
  for (const [from, to] of names) line = line.replaceAll(from, to)
  return line
    .replace(/\b[0-9a-f]{12}\b/g, 'HASH')
    .replace(/[\d.]+ (ms|s|bytes?|[kMG]B)\b/g, 'N')
    .replace(/\d+/g, 'N')
    .replace(/ {2,}/g, '  ')
}

/** Pages that begin with an empty cache. */
const FROM_NOTHING = ['docs/cli.md', 'docs/shipping.md']

for (const [page, transcripts] of runnable('console')) {
  test(`the commands of ${page} print what it shows`, async (t) => {
    const directory = FROM_NOTHING.includes(page) ? path.join(home, `${path.basename(page, '.md')}-cache`) : cache.directory
    const names = [
      ['/home/me/.cache/wasm-compile-cache', directory],
      ['/app', home],
    ]
    const env = { WASM_COMPILE_CACHE: directory, WASM_COMPILE_CACHE_FINISH: '0' }
    for (const { text, lines } of transcripts.flatMap(({ code }) => shown(code))) {
      const { stdout, stderr } = await command(text, { env })
      const found = `${stdout}\n${stderr}`.split('\n').map((line) => comparable(line, []))
      t.true(lines.length > 0, text)
      for (const line of lines) t.true(found.includes(comparable(line, names)), `${text}: ${line}\n${stdout}${stderr}`)
    }
  })
}

for (const [page, scripts] of runnable('sh')) {
  test(`the commands of ${page} end well`, async (t) => {
    for (const text of scripts.flatMap(({ code }) => code.trimEnd().split('\n'))) {
      const { error, stderr } = await command(text)
      t.is(error, null, `${text}\n${stderr}`)
    }
  })
}

for (const [page, files] of runnable('dockerfile')) {
  test(`the container of ${page} starts hot`, async (t) => {
    for (const { code } of files) {
      const cwd = project('codec/dec')
      const env = { WASM_COMPILE_CACHE: path.join(cwd, 'cache'), WASM_COMPILE_CACHE_FINISH: '0' }
      const commands = [...code.matchAll(/^RUN (.+)$/gm)].map(([, text]) => text)
      t.true(commands.length > 0)
      for (const text of commands) t.is((await command(text, { cwd, env })).error, null, text)
      const [program, ...args] = JSON.parse(/^CMD (\[.*\])$/m.exec(code)[1])
      t.is(program, 'node')
      const { stdout } = await node(args, { cwd, env: { ...env, WASM_COMPILE_CACHE_ONLY: '1' } })
      t.is(stdout, 'webp_dec.wasm runs optimised code\n')
    }
  })
}

test('what is not run says why', (t) => {
  const languages = ['js', 'console', 'sh', 'dockerfile', 'text']
  for (const { page, line, language, reason } of blocks) {
    if (reason === undefined) t.true(languages.includes(language), `${page}:${line}: nothing runs "${language}"`)
    for (const [file] of reason?.matchAll(/__test__\/\S+\.js/g) ?? []) {
      t.true(textOf(file).includes(page), `${page}:${line}: ${file}`)
    }
  }
  t.true(blocks.length > 20)
})

test('no page has code that is only indented', (t) => {
  for (const page of PAGES) t.notRegex(textOf(page), /^(?![-*\d ]).*\n\n {4}\S/m, page)
})

// ── What the pages list ─────────────────────────────────────────────────────────────────────────────────────────────

/** The texts of all that the package is made of. */
const sources = () =>
  ['lib', 'src', 'crates'].flatMap((folder) =>
    fs
      .readdirSync(path.join(ROOT, folder), { recursive: true })
      .filter((name) => /\.(?:js|rs)$/.test(name) && !/\btests\b/.test(name))
      .map((name) => textOf(path.join(folder, name)))
  )

/** The names in the first column of a page's tables. */
const listed = (page, pattern) =>
  [...textOf(page).matchAll(new RegExp(`^\\| (?:.*, )?\`(${pattern})[\`=]`, 'gm'))].map(([, name]) => name)

test('the command line is shown in full', (t) => {
  const commands = textOf('lib/cli/main.js')
    .match(/require\('\.\/\w+\.js'\),/g)
    .map((line) => line.slice(11, -6))
  const texts = runnable('console')
    .flatMap(([, transcripts]) => transcripts.flatMap(({ code }) => shown(code)))
    .map(({ text }) => text)
  const named = texts.map((text) => /npx wasm-compile-cache (\w+)/.exec(text)?.[1]).filter(Boolean)
  t.deepEqual([...new Set(named)].sort(), commands.sort())
})

test('options and their defaults are those of index.d.ts', (t) => {
  const types = textOf('index.d.ts')
  const [, options] = /^## Options\n([^]*?)^## /m.exec(textOf('docs/api.md'))
  const documented = [...options.matchAll(/^\| `(\w+)` \| (?:`([^`]*)`|none) \|/gm)]
  t.deepEqual(
    documented.map(([, name]) => name),
    ['engine', 'partition', 'cache', 'minSize', 'baseline', 'optimize', 'finish', 'fallback', 'signal']
  )
  for (const [, name, value] of documented) {
    if (value !== undefined) t.regex(types, new RegExp(`Default: \`${value}\`[^/]*\\*/\\s+${name}\\?:`), name)
  }
})

test('every event that is listed is published, and the other way round', (t) => {
  const { NAMES } = require('../dist/engine.js').load('events/events.js')
  t.deepEqual(listed('docs/events.md', '\\w+').sort(), [...NAMES].sort())
})

test('every variable that the package reads is listed, and the other way round', (t) => {
  // Unit tests have some of their own, _TEST_.
  const read = sources().flatMap(
    (text) => text.match(/\bWASM_(?!COMPILE_CACHE_TEST_)(?:COMPILE|DISABLE|ARCHIVE)_[A-Z_]*[A-Z]\b/g) ?? []
  )
  t.deepEqual(listed('docs/cache.md', 'WASM_\\w+').sort(), [...new Set(read)].sort())
})

test('every code of an error is explained', (t) => {
  const codes = new Set(sources().flatMap((text) => text.match(/\bERR_WASM_[A-Z_]+/g) ?? []))
  const explained = PAGES.filter((page) => page.startsWith('docs/'))
    .map(textOf)
    .join()
  t.true(codes.size > 20)
  for (const code of codes) t.true(explained.includes(code), code)
})

test('the figures are those of benches/results.json', (t) => {
  for (const { file, text, fresh } of benchmark.pages()) t.true(text === fresh, `${file}: run node benches/report.js`)
})

test('links between the pages lead somewhere', (t) => {
  for (const page of PAGES) {
    for (const { target, file, anchor } of linksOf(page)) {
      const exists = fs.existsSync(path.join(ROOT, file))
      t.true(exists, `${page}: ${target}`)
      if (exists && anchor !== undefined) t.true(anchorsOf(file).includes(anchor), `${page}: ${target}`)
    }
  }
})

test('the walks name functions that are where they say', (t) => {
  const text = textOf('docs/development/walks.md').replaceAll(/\s+/g, ' ')
  const steps = [...text.matchAll(/`#?(\w+)` in `([^`]+)`/g)]
  t.true(steps.length > 50)
  for (const [, name, file] of steps) {
    const exists = fs.existsSync(path.join(ROOT, file))
    t.true(exists, `${name}: ${file}`)
    if (exists) t.regex(textOf(file), new RegExp(`\\b${name}\\b`), file)
  }
  for (const [, file] of text.matchAll(/`((?:crates|src|lib)\/[^`]*)`/g)) t.true(fs.existsSync(path.join(ROOT, file)), file)
})
