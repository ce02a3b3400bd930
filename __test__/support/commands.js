'use strict'
// Commands that compile (../children/command.js), started as a user would, and what they leave in the cache directory.

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { remove } = require('./remove.js')

const COMMAND = path.join(__dirname, '../children/command.js')

/** A temporary folder for as long as the test runs. */
function folder(t) {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-command-'))
  t.teardown(() => remove(made))
  return made
}

/** The tests' environment without what steers the package (but for the engine) or Node; then `env`, in which undefined removes a name. */
function environment(env) {
  const all = { ...process.env, ...env }
  for (const name of Object.keys(all)) {
    if (name in env ? env[name] === undefined : /^(NODE_OPTIONS$|NODE_DEBUG$|WASM_(?!COMPILE_CACHE_ENGINE$))/.test(name)) {
      delete all[name]
    }
  }
  return all
}

/**
 * Starts a command that does `job`.
 *
 * @param {object} job see ../children/command.js
 * @param {object} settings
 * @param {string} [settings.cache] WASM_COMPILE_CACHE
 * @param {object} [settings.env] further variables; no finishers unless WASM_COMPILE_CACHE_FINISH says so
 * @param {string[]} [settings.flags] of Node
 * @param {string[]} [settings.under] a program that starts it
 * @param {number} [settings.user] its user and group
 * @returns {{child: object, ready: Promise<void>, ended: Promise<object>}} `ended` is when it and its pipes are closed:
 *   what it printed, and `code`, `signal`, `stderr`
 */
function start(job, { cache, cwd, env = {}, flags = [], under = [], user } = {}) {
  const all = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0', ...env })
  const [program, ...argv] = [...under, process.execPath, ...flags, COMMAND, JSON.stringify(job)]
  const child = spawn(program, argv, { env: all, cwd, uid: user, gid: user, stdio: ['pipe', 'pipe', 'pipe'] })
  let [stdout, stderr] = ['', '']
  child.stderr.on('data', (text) => (stderr += text))
  let loaded
  const ready = new Promise((resolve) => (loaded = resolve))
  child.stdout.on('data', (text) => {
    stdout += text
    if (stdout.startsWith('ready\n')) loaded()
  })
  const ended = once(child, 'close').then(([code, signal]) => {
    loaded()
    const last = stdout.trimEnd().split('\n').at(-1)
    if (!last.startsWith('{')) throw new Error(`the command ended with ${signal ?? code}\n${stderr}`)
    return { ...JSON.parse(last), code, signal, stderr }
  })
  if (!job.ready) child.stdin.end()
  return { child, ready, ended }
}

/** Does `job` to its end; an end other than 0 is an error unless the job asks for one. */
async function run(job, settings) {
  const ended = await start(job, settings).ended
  const expected = { exit: 3, throw: 1 }[job.end] ?? 0
  if (ended.code !== expected) throw new Error(`the command ended with ${ended.signal ?? ended.code}\n${ended.stderr}`)
  return ended
}

/** Lets commands that were started with `ready` go, all at once; what became of them. */
async function together(commands) {
  await Promise.all(commands.map(({ ready }) => ready))
  for (const { child } of commands) child.stdin.end()
  return Promise.all(commands.map(({ ended }) => ended))
}

/** Everything below the cache directory: paths relative to it. */
const files = (cache) => (fs.existsSync(cache) ? fs.readdirSync(cache, { recursive: true }).sort() : [])

/** The artifacts' paths. */
const entries = (cache) =>
  files(cache)
    .filter((name) => name.endsWith('.cwasm'))
    .map((name) => path.join(cache, name))

/**
 * What nobody must leave behind once all is over. The sweeper's lock is none of it: a process that ends meanwhile leaves
 * it to the next sweep, which takes and removes it.
 */
const litter = (cache) =>
  files(cache).filter((name) => /\.spool$|[0-9a-f]{64}\.lock$|\.tmp-/.test(name) && !/(^|\/)0{64}\.lock$/.test(name))

const named = (run, name) => run.events.filter((event) => event.name === name)

/** What Node warned of on stderr, and what else is there: `warnings` [{name, code, message}], `rest`. */
function warned({ stderr }) {
  const warnings = []
  const rest = stderr
    .replace(/^\(Use `node --trace-warnings .*\n/m, '')
    .replace(/^\(node:\d+\) (?:\[(\w+)\] )?(\w+): (.*)\n/gm, (_, code, name, message) => {
      warnings.push({ name, code, message })
      return ''
    })
  return { warnings, rest }
}

/** How the modules of a run came about: the names of its events that tell. */
const story = ({ events }) =>
  events
    .map(({ name }) => name)
    .filter((name) => !['compiledModule', 'moduleCacheMiss', 'streamFromResponseCallback'].includes(name))

const COLD = ['baselineReady', 'cachedModule', 'optimizedReady']
const UNCACHED = ['baselineReady', 'optimizedReady']
const HOT = ['moduleCacheHit']

module.exports = { COLD, HOT, UNCACHED, entries, environment, files, folder, litter, named, run, start, story, together, warned }
