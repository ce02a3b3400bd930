'use strict'
// Programs under register with `engine: 'auto'`, and what they leave in the cache directory.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')

const { addonPath } = require('../../scripts/build.js')
const { environment, folder } = require('./commands.js')
const { having, over } = require('./processes.js')
const { REGISTER, ROOT } = require('./programs.js')
const { remove } = require('./remove.js')
const { machine, padded } = require('./wat.js')

/** The least that is not a small module, in bytes. */
const SIZE = 128 * 1024

/** In the environment: modules are judged without waiting for a quiet machine. */
const JUDGED = { WASM_COMPILE_CACHE_FINISH: 'now' }

/** What a program has for its tests: `tell` prints its result, `loaded` what of this package is there. */
const PRELUDE = `
  const fs = require('node:fs')
  const tell = (value) => console.log(JSON.stringify(value))
  const loaded = () => Object.keys(require.cache).filter((name) => name.startsWith(${JSON.stringify(ROOT + path.sep)})).map((name) => name.slice(${ROOT.length + 1})).sort()
  const addons = () => {
    process.report.excludeNetwork = true
    return process.report.getReport().sharedObjects.filter((name) => name.endsWith('.node'))
  }
  const hasAddon = () => addons().length > 0`

/** In a program: what a process does that does not end soon is done by later(). */
const LATER = `
  const { setTimeout: timeout } = globalThis
  let later
  globalThis.setTimeout = (fn, ms, ...list) => {
    if (ms === 5000) later = () => fn(...list)
    return timeout(ms === 5000 ? () => {} : fn, ms, ...list)
  }`

/** In a program: takes memory until less than so many bytes are free. */
const TAKE = `
  const { available } = require(${JSON.stringify(path.join(ROOT, 'dist/choice.js'))}).load('front/memory.js')
  const taken = []
  const take = (rest) => { while (available() > rest) taken.push(Buffer.alloc(2 ** 22, 1)) }`

/** In a program: what is in a file. */
const read = (name) => `fs.readFileSync(${JSON.stringify(name)})`

/**
 * Runs a program to its end, and whatever it leaves behind.
 *
 * @param {string} code CommonJS; it calls tell(value) once, as the last of what it prints
 * @param {object} settings
 * @param {string} settings.cache
 * @param {string[]} [settings.args] in process.argv, from 1 on
 * @param {string[]} [settings.flags] of Node, in the place of --require register
 * @param {string} [settings.group] of ./limits.js, in which it runs
 * @returns {Promise<{told: unknown, stderr: string, verdicts: object[], seen: string[]}>} as it is then
 */
async function auto(code, { cache, env = {}, flags = ['--require', REGISTER], args = [], group }) {
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_ENGINE: undefined, ...env })
  const [stdout, stderr] = await new Promise((resolve, reject) => {
    const enter = group === undefined ? [] : ['sh', '-c', `echo $$ > ${group}/cgroup.procs && exec "$@"`, 'sh']
    const [program, ...argv] = [...enter, process.execPath, ...flags, '-e', `${PRELUDE}\n${code}`, '--', ...args]
    execFile(program, argv, { env: all }, (error, out, err) => {
      if (error === null) resolve([out, err])
      else reject(new Error(`${error.signal ?? error.code}\n${out}${err}`))
    })
  })
  await judged(cache)
  return { told: JSON.parse(stdout.trimEnd().split('\n').at(-1)), stderr, verdicts: verdicts(cache), seen: seen(cache) }
}

/**
 * For as long as the tests of the caller's file run: a module's file that is not small, in the folder `root`; `run` is a program
 * that has it, or another one, and `plain` what that gives without this package.
 */
function subject(test) {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-auto-'))
  const file = path.join(root, 'machine.wasm')
  test.after.always(() => remove(root))
  test.before(async () => fs.writeFileSync(file, padded(await machine(), SIZE)))

  const run = (name = file) => `
    const { Module, Instance } = WebAssembly
    const module = new Module(${read(name)})
    const instance = new Instance(module, { env: { tick: (x) => x + 1 } })
    tell([Module.tier(module), instance.exports.run(9), hasAddon(), Object.getPrototypeOf(module) === Module.prototype, instance instanceof Instance,
      module.constructor === Module])`

  async function plain(t) {
    const { told } = await auto(run().replace('Module.tier(module)', '0'), { cache: folder(t), flags: [] })
    return told[1]
  }
  return { file, plain, root, run }
}

/** Waits for what programs that have ended have left behind for a cache, whatever it is about to become. */
const judged = (cache) => over(having(`WASM_COMPILE_CACHE=${cache}`))

const filesOf = (cache, folder) => {
  const at = path.join(cache, folder)
  return fs.existsSync(at) ? fs.readdirSync(at).sort() : []
}

const verdicts = (cache) =>
  filesOf(cache, 'verdicts').map((name) => {
    const file = path.join(cache, 'verdicts', name)
    const text = fs.readFileSync(file, 'utf8')
    return { file, ...(text.startsWith('{\n') ? JSON.parse(text) : {}) }
  })

const seen = (cache) => filesOf(cache, 'seen')

/** Changes a verdict. */
function change(cache, changes) {
  const [{ file, ...verdict }] = verdicts(cache)
  fs.writeFileSync(file, JSON.stringify({ ...verdict, ...changes }, null, 1))
}

/** Compiles modules as an image or a postinstall script does: `warm` of the command line. */
function warm(cache, ...files) {
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [path.join(ROOT, 'dist/cli.js'), 'warm', ...files], { env: all }, (error, out, err) => {
      if (error === null) resolve(out)
      else reject(new Error(`${out}${err}`))
    })
  })
}

/** The environment of a program whose addon has none beside it that gives and takes V8's code. */
function withoutShim(t) {
  const addon = addonFile()
  const file = path.join(folder(t), path.basename(addon))
  fs.symlinkSync(addon, file)
  return { NAPI_RS_NATIVE_LIBRARY_PATH: file }
}

/** The addon that is tested. */
const addonFile = () => process.env.NAPI_RS_NATIVE_LIBRARY_PATH ?? addonPath()

/** The addon through which V8 gives and takes code. */
const shimFile = () =>
  path.join(
    path.dirname(addonFile()),
    path.basename(addonFile()).replace(/^wasm-compile-cache\./, `wasm-compile-cache.v8-${process.versions.modules}.`)
  )

/** What has this package find a shim that cannot be loaded. */
function brokenShim(t) {
  const env = withoutShim(t)
  fs.writeFileSync(path.join(path.dirname(env.NAPI_RS_NATIVE_LIBRARY_PATH), path.basename(shimFile())), 'no addon')
  return env
}

module.exports = {
  JUDGED,
  LATER,
  SIZE,
  TAKE,
  addonFile,
  auto,
  brokenShim,
  change,
  judged,
  read,
  seen,
  shimFile,
  subject,
  verdicts,
  warm,
  withoutShim,
}
