'use strict'
// Where there is no WebAssembly, or the addon cannot be loaded, register lets the program run as without it, and require
// says what is missing.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { addonPath } = require('../scripts/build.js')
const { environment, folder, warned } = require('./support/commands.js')
const { REGISTER, ROOT } = require('./support/programs.js')

const major = Number(process.versions.node.split('.')[0])

function node(argv, env = {}) {
  return new Promise((resolve) => {
    execFile(process.execPath, argv, { env: environment(env) }, (error, stdout, stderr) => {
      const { warnings, rest } = warned({ stderr })
      resolve({ code: error?.code ?? 0, stdout, warnings, stderr: rest })
    })
  })
}

/** Without the addon that the tests are run on. */
const ALONE = { NAPI_RS_NATIVE_LIBRARY_PATH: undefined }

/** The package as it is installed, without its addon. */
function copy(t) {
  const into = path.join(folder(t), 'node_modules/wasm-compile-cache')
  for (const name of ['index.js', 'register.js', 'binding.js', 'package.json', 'dist']) {
    fs.cpSync(path.join(ROOT, name), path.join(into, name), { recursive: true })
  }
  return into
}

// A thread that inherits everything, one that is given arguments, and what each of them sees of WebAssembly.
const PROGRAM = `
  const { Worker } = require('node:worker_threads')
  const look = 'console.log(typeof WebAssembly, globalThis.WebAssembly?.Module.tier === undefined)'
  eval(look)
  const start = (...[options, ...rest]) => {
    if (options !== undefined) new Worker(look, { eval: true, ...options }).on('exit', () => start(...rest))
  }
  start({}, { execArgv: ['--require', process.argv[1]] })`

async function ran(t, flags, env, register = REGISTER) {
  const argv = ['-e', PROGRAM, register]
  const plain = await node([...flags, ...argv], env)
  const ours = await node([...flags, '--require', register, ...argv], env)
  t.is(ours.stdout.split('\n').length, 4)
  t.like(ours, { code: 0, stdout: plain.stdout, stderr: plain.stderr })
  return ours.warnings
}

/** What is thrown to who requires or imports the package and uses it. */
async function thrown(t, flags, packageFolder = ROOT) {
  const index = path.join(packageFolder, 'index.js')
  const env = packageFolder === ROOT ? {} : ALONE
  const show = '({ constructor, name, code, message }) => console.log(JSON.stringify([constructor === Error, name, code, message]))'
  const required = await node(
    [...flags, '-e', `try { require(${JSON.stringify(index)}).compile } catch (error) { (${show})(error) }`],
    env
  )
  const imported = await node(
    [...flags, '-e', `import(${JSON.stringify(index)}).then(({ compile }) => compile(new Uint8Array(8))).catch(${show})`],
    env
  )
  t.is(imported.stdout, required.stdout)
  const built = await node(
    [...flags, '-e', `import(${JSON.stringify(index)}).then(({ Module }) => new Module(new Uint8Array(8))).catch(${show})`],
    env
  )
  t.is(built.stdout, required.stdout)
  const [isError, name, code, message] = JSON.parse(required.stdout)
  t.deepEqual([isError, name], [true, 'Error'])
  return { code, message }
}

const WITHOUT_WEBASSEMBLY = major < 24 ? ['--jitless', '--noexpose-wasm'] : ['--jitless']

for (const flag of WITHOUT_WEBASSEMBLY) {
  test(`without WebAssembly (${flag}) register does nothing`, async (t) => {
    t.deepEqual(await ran(t, [flag], {}), [])
    const { code, message } = await thrown(t, [flag])
    t.is(code, 'ERR_WASM_NO_WEBASSEMBLY')
    t.true(message.includes(flag))
  })
}

test('without WebAssembly by NODE_OPTIONS, and without a cache, register does nothing', async (t) => {
  t.deepEqual(await ran(t, [], { NODE_OPTIONS: '--jitless', WASM_DISABLE_COMPILE_CACHE: '1' }), [])
})

test('where Node loads no addons, register says so once, and the program runs', async (t) => {
  for (const env of [{}, { WASM_DISABLE_COMPILE_CACHE: '1' }]) {
    const [warning, ...others] = await ran(t, ['--no-addons'], env)
    t.deepEqual(others, [])
    t.like(warning, { name: 'WasmCompileCacheWarning', code: 'ERR_WASM_ADDONS_DISABLED' })
    t.regex(warning.message, /--no-addons.*Node's own engine$/)
  }
  t.is((await thrown(t, ['--no-addons'])).code, 'ERR_WASM_ADDONS_DISABLED')
  t.deepEqual(await ran(t, ['--no-addons', '--no-warnings'], {}), [])
})

test('a thread that may load no addons runs as without this package', async (t) => {
  const code = `new (require('node:worker_threads').Worker)('console.log(WebAssembly.Module.tier)', { eval: true, execArgv: ['--no-addons'] })`
  const { stdout, warnings } = await node(['--require', REGISTER, '-e', code])
  t.is(stdout, 'undefined\n')
  t.deepEqual(
    warnings.map((warning) => warning.code),
    ['ERR_WASM_ADDONS_DISABLED']
  )
})

test('an addon that is missing, or broken, is told as what it is, and the program runs', async (t) => {
  const into = copy(t)
  const missing = await ran(t, [], ALONE, path.join(into, 'register.js'))
  t.deepEqual(
    missing.map(({ code }) => code),
    ['ERR_WASM_NO_ADDON']
  )
  t.regex(missing[0].message, /it is not installed/)

  const addon = path.basename(addonPath())
  fs.writeFileSync(path.join(into, addon), 'no library')
  const broken = await ran(t, [], ALONE, path.join(into, 'register.js'))
  t.deepEqual(
    broken.map(({ code }) => code),
    ['ERR_WASM_NO_ADDON']
  )
  t.true(broken[0].message.includes(addon), 'it says which file')
  t.notRegex(broken[0].message, /not installed|npm\/cli/)
  const { code, message } = await thrown(t, [], into)
  t.is(code, 'ERR_WASM_NO_ADDON')
  t.true(broken[0].message.startsWith(message))

  fs.rmSync(path.join(into, 'binding.js'))
  t.is((await thrown(t, [], into)).code, 'ERR_WASM_NO_ADDON')
})

test('on Windows, which has no addon, register does nothing, nothing is built, and who uses the package is told', async (t) => {
  const into = copy(t)
  const fake = path.join(folder(t), 'windows.js')
  fs.writeFileSync(fake, "Object.defineProperty(process, 'platform', { value: 'win32' })")
  const program = "console.log(WebAssembly.Module.tier, Object.keys(require.cache).filter((name) => name.includes('dist')))"
  const registered = await node(['--require', fake, '--require', path.join(into, 'register.js'), '-e', program], ALONE)
  t.deepEqual(registered, { code: 0, stdout: 'undefined []\n', warnings: [], stderr: '' })
  const { code, message } = await thrown(t, ['--require', fake], into)
  t.is(code, 'ERR_WASM_NO_ADDON')
  t.regex(message, /no native addon for Windows/)
  const installed = await node(['--require', fake, path.join(ROOT, 'scripts/install.js')], {
    WASM_COMPILE_CACHE_BUILD_FLAGS: '--no-default-features',
  })
  t.like(installed, { code: 0, stderr: '' })
  t.regex(installed.stdout, /^.*there is no addon for Windows.*\n$/)
})
