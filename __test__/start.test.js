'use strict'
// What a start costs: until the program uses WebAssembly, register has loaded one file; and what it put in the built-in's
// place until then is not told from what comes after.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { promisify } = require('node:util')
const { pathToFileURL } = require('node:url')
const test = require('ava')

const { environment, folder, warned } = require('./support/commands.js')
const { REGISTER, ROOT } = require('./support/programs.js')

const INDEX = path.join(ROOT, 'index.js')

// What the package has loaded: files, and the addon.
const LOADED = `
  const loaded = () => [
    Object.keys(require.cache).filter((name) => name.startsWith(${JSON.stringify(ROOT + path.sep)})).map((name) => name.slice(${ROOT.length + 1})),
    process.report.getReport().sharedObjects.some((name) => name.endsWith('.node')),
  ]
  process.report.excludeNetwork = true`

/** What `code` gives to `tell`, in JSON. */
async function told(code, { flags = ['--require', REGISTER], env = {}, file } = {}) {
  const program = `${LOADED}\nconst tell = (value) => console.log(JSON.stringify(value))\n${code}`
  if (file !== undefined) fs.writeFileSync(file, program)
  const argv = [...flags, ...(file === undefined ? ['-e', program] : [file])]
  const { stdout, stderr } = await promisify(execFile)(process.execPath, argv, { env: environment(env) })
  return { told: JSON.parse(stdout), ...warned({ stderr }) }
}

const NOTHING = [['register.js'], false]

test('until a member of WebAssembly is used, register is all that is loaded', async (t) => {
  const looks = `
    const { WebAssembly: captured } = globalThis
    typeof WebAssembly
    'compile' in WebAssembly
    Object.keys(WebAssembly)
    String(Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly').value)
    new Error() instanceof WebAssembly.RuntimeError`
  const { told: seen } = await told(`${looks}
    const before = loaded()
    WebAssembly.Module
    tell([before, loaded(), WebAssembly === captured])`)
  const [before, [files, hasAddon], same] = seen
  t.deepEqual(before, NOTHING)
  t.true(hasAddon, 'it is seen where it is loaded')
  t.true(files.includes(path.join('dist', 'engine.js')))
  t.true(same)
})

test('the package that is required is one file, until one of its exports is used', async (t) => {
  const { told: seen } = await told(
    `
    const package = require(${JSON.stringify(INDEX)})
    const before = loaded()
    tell([before, Object.keys(package).length, typeof package.compile, loaded()[1]])`.replaceAll('package', 'pack'),
    { flags: [] }
  )
  t.deepEqual(seen, [[['index.js'], false], 21, 'function', true])
})

const USES = {
  'a member is read': 'WebAssembly.validate',
  'a member is assigned': 'const { compile } = WebAssembly; WebAssembly.compile = compile',
  'a member is read through what inherits from it': 'Object.create(WebAssembly).Memory',
}

for (const [what, use] of Object.entries(USES)) {
  test(`where ${what}, all members are as the built-in's`, async (t) => {
    const attributes = `
      const shapes = (object) => Object.entries(Object.getOwnPropertyDescriptors(object))
        .map(([name, { value, ...rest }]) => [name, typeof value, rest])
      const globals = () => shapes({ globalThis: 0 }).concat(Object.entries(Object.getOwnPropertyDescriptor(globalThis, 'WebAssembly')).slice(1))`
    const { told: builtin } = await told(
      `${attributes}; tell([globals(), shapes(WebAssembly).filter(([name]) => !/Susp|promising/.test(name)), globals()])`,
      { flags: [] }
    )
    const { told: ours } = await told(`${attributes}
      const before = globals()
      ${use}
      tell([before, shapes(WebAssembly), globals()])`)
    t.deepEqual(ours, builtin)
  })
}

test('what a program assigns stays', async (t) => {
  const { told: seen } = await told(`
    const before = globalThis.WebAssembly
    const derived = Object.assign(Object.create(WebAssembly), { instantiate: 1 })
    const isOwn = [Object.hasOwn(derived, 'instantiate'), typeof WebAssembly.instantiate]
    WebAssembly.instantiateStreaming = 2
    globalThis.WebAssembly = 3
    tell([isOwn, before.instantiateStreaming, globalThis.WebAssembly, typeof before.compile])`)
  t.deepEqual(seen, [[true, 'function'], 2, 3, 'function'])
  // Nothing is loaded for it, and nothing is put back.
  t.deepEqual((await told('WebAssembly = 3; tell([WebAssembly, loaded()])')).told, [3, NOTHING])
})

test('uninstall() before the first use leaves the built-in, and node:vm and node:worker_threads as they are', async (t) => {
  const { told: seen } = await told(`
    const waiting = WebAssembly
    require(${JSON.stringify(INDEX)}).uninstall()
    const { Worker } = require('node:worker_threads')
    const vm = require('node:vm')
    tell([WebAssembly === waiting, WebAssembly.Module.tier === undefined, String(WebAssembly.Module).includes('[native code]'),
      String(Worker).startsWith('class'), vm.runInNewContext('WebAssembly.Module.tier === undefined')])`)
  t.deepEqual(seen, [false, true, true, true, true])
})

// ── What the program takes out of Node's modules before it uses WebAssembly ─────────────────────────────────────────

const WORKS = `
  const ours = 'typeof WebAssembly.Module.tier'
  new Worker("require('node:worker_threads').parentPort.postMessage(" + ours + ')', { eval: true, execArgv: [] })
    .on('message', (inWorker) => tell([inWorker, runInNewContext(ours)]))`

const TAKEN = {
  'by require': [
    "const { Worker } = require('node:worker_threads'); const { runInNewContext } = require('node:vm')",
    'program.cjs',
  ],
  'by require, by their old names': [
    "const { Worker } = require('worker_threads'); const { runInNewContext } = require('vm')",
    'program.cjs',
  ],
  'by import': ["import { Worker } from 'node:worker_threads'; import { runInNewContext } from 'node:vm'", 'program.mjs'],
}

for (const [how, [take, name]] of Object.entries(TAKEN)) {
  test(`Worker and runInNewContext are ours where the program takes them ${how}`, async (t) => {
    const file = path.join(folder(t), name)
    const code = name.endsWith('.mjs')
      ? "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)\n"
      : ''
    fs.writeFileSync(file, `${code}${take}\nconst tell = (value) => console.log(JSON.stringify(value))\n${WORKS}`)
    for (const flags of [
      ['--require', REGISTER],
      ['--import', pathToFileURL(REGISTER).href],
    ]) {
      const { stdout } = await promisify(execFile)(process.execPath, [...flags, file], { env: environment({}) })
      t.deepEqual(JSON.parse(stdout), ['function', 'function'], flags[0])
    }
  })
}

test('a program that makes vm contexts and threads without WebAssembly does not load the addon for a thread', async (t) => {
  const { told: seen } = await told(`
    const { Worker } = require('node:worker_threads')
    new Worker('0', { eval: true }).on('exit', () => tell(loaded()))`)
  t.deepEqual(seen, [['register.js', path.join('dist', 'hooks.js')], false])
})

// ── What Node, and what happens before the first use, changes ───────────────────────────────────────────────────────

test("Node's own HTTP parser, a module of WebAssembly, is none of the program's", async (t) => {
  const { told: seen } = await told(`
    const server = require('node:http').createServer((_, response) => response.end('text')).listen(0, '127.0.0.1', async () => {
      const response = await fetch('http://127.0.0.1:' + server.address().port)
      tell([await response.text(), loaded()])
      server.close()
      server.closeAllConnections()
    })`)
  t.deepEqual(seen, ['text', NOTHING])
})

test('the environment and the folder of the start count', async (t) => {
  const at = fs.realpathSync(folder(t))
  const code = `
    for (const name of Object.keys(process.env)) delete process.env[name]
    process.chdir('/')
    const { cache } = require(${JSON.stringify(INDEX)})
    tell([cache.directory, cache.enable().status])`
  const argv = (program) => ['--require', REGISTER, '-e', `const tell = (value) => console.log(JSON.stringify(value))\n${program}`]
  const run = (env) =>
    promisify(execFile)(process.execPath, argv(code), {
      cwd: at,
      env: { ...environment({}), WASM_COMPILE_CACHE: undefined, ...env },
    })
  t.deepEqual(JSON.parse((await run({ WASM_COMPILE_CACHE: 'relative' })).stdout), [path.join(at, 'relative'), 'already-enabled'])
  t.is(JSON.parse((await run({ WASM_DISABLE_COMPILE_CACHE: '1' })).stdout)[1], 'disabled')
  if (process.platform === 'linux') {
    const { stdout } = await run({ XDG_CACHE_HOME: path.join(at, 'xdg') })
    t.deepEqual(JSON.parse(stdout), [path.join(at, 'xdg', 'wasm-compile-cache'), 'already-enabled'])
  }
})

test('a trace is of the whole process, and of threads that alone use WebAssembly', async (t) => {
  const trace = path.join(folder(t), 'trace.json')
  const code =
    "new (require('node:worker_threads').Worker)('new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]))', { eval: true }); tell(0)"
  await told(code, { env: { WASM_COMPILE_CACHE_TRACE: trace } })
  const { traceEvents } = JSON.parse(fs.readFileSync(trace, 'utf8'))
  t.true(traceEvents.some(({ name }) => name === 'compiledModule'))
})

test('what keeps the addon from being loaded is said when WebAssembly is used, and not before', async (t) => {
  const flags = ['--no-addons', '--require', REGISTER]
  const silent = await told('tell(typeof WebAssembly)', { flags })
  t.deepEqual([silent.told, silent.warnings], ['object', []])
  const { told: seen, warnings } = await told(
    `
    const waiting = WebAssembly
    tell([typeof waiting.Module.tier, waiting.validate === WebAssembly.validate, new waiting.Memory({ initial: 1 }) instanceof WebAssembly.Memory])`,
    { flags }
  )
  t.deepEqual(seen, ['undefined', true, true])
  t.deepEqual(
    warnings.map(({ code }) => code),
    ['ERR_WASM_ADDONS_DISABLED']
  )
})

test('two copies that are registered: the second is in force, and the first after it', async (t) => {
  const copy = path.join(folder(t), 'copy')
  const wanted = [
    'index.js',
    'register.js',
    'binding.js',
    'package.json',
    'dist',
    ...fs.readdirSync(ROOT).filter((name) => name.endsWith('.node')),
  ]
  for (const name of wanted) fs.cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true })
  const { told: seen } = await told(
    `
    const [first, second] = ${JSON.stringify([ROOT, copy])}.map((folder) => require(folder))
    const inForce = () => [first, second].findIndex((one) => one.WebAssembly === WebAssembly)
    const order = [inForce()]
    second.uninstall()
    order.push(inForce())
    first.uninstall()
    tell([...order, inForce(), WebAssembly.Module.tier === undefined])`,
    { flags: ['--require', REGISTER, '--require', path.join(copy, 'register.js')] }
  )
  t.deepEqual(seen, [1, 0, -1, true])
})
