'use strict'

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { promisify } = require('node:util')

const { formatSize } = require('../cache/quantities.js')
const { plugAndPlay } = require('../process/detached.js')
const { interruptible } = require('./interruption.js')
const { isWritable } = require('./open.js')
const { addOptions, openRemote, settingsFor } = require('./remote.js')
const { table } = require('./screen.js')

const PROBE = path.join(__dirname, 'probe.js')

// Artifacts of large modules have some 50 MB.
const LEAST_ROOM = 64 * 2 ** 20

const good = (detail) => ({ ok: true, detail })
const bad = (detail, advice) => ({ ok: false, detail, advice })
const untold = (detail) => ({ ok: null, detail })

function node() {
  const { node: version, v8 } = process.versions
  const [major] = version.split('.')
  return Number(major) >= 20 ? good(`${version}, V8 ${v8}`) : bad(version, 'Node 20 is the oldest that is supported')
}

const WITHOUT_ADDON = {
  ERR_WASM_NO_WEBASSEMBLY: 'run Node without --jitless and --noexpose-wasm',
  ERR_WASM_SHADOW_STACK: 'run it with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off',
  ERR_WASM_ADDONS_DISABLED: 'run Node without --no-addons; node --permission needs --allow-addons',
}

const OTHERWISE = process.platform === 'win32' ? "programs run there on Node's own engine" : 'npm rebuild wasm-compile-cache'

/** The addon; without it nothing else can be looked at. */
function addon(found) {
  const platform = `${process.platform}-${process.arch}`
  try {
    found.native = require('../process/native.js').native
    return good(platform)
  } catch (error) {
    return bad(`${platform}: ${error.message}`, WITHOUT_ADDON[error.code] ?? OTHERWISE)
  }
}

function engine({ native }) {
  const { package: version, wasmer, cpu } = native.engineFingerprint()
  return good(`${version}, wasmer ${wasmer}, ${cpu}`)
}

/** How platforms were proven: docs/platforms.md. */
const PROVEN = {
  'x86_64-unknown-linux-gnu': 'every change is tested',
  'x86_64-unknown-linux-musl': 'tested',
  'aarch64-unknown-linux-gnu': 'tested on an emulated processor',
}

function platform({ native }) {
  const { target } = native.engineFingerprint()
  const proven = PROVEN[target]
  return proven === undefined
    ? untold(`${target}: it is built, and was not proven; docs/platforms.md says what was looked at`)
    : good(`${target}: ${proven}`)
}

function guards({ native }) {
  // Where no handler of Node's says so, it looks at memories when it is loaded.
  require('../api/memory.js')
  return native.hostGuardsMemories()
    ? good('V8 guards its memories')
    : bad(
        'V8 does not guard its memories: modules go to the built-in engine, or those with a memory are refused',
        process.platform === 'linux' && process.arch === 'arm64' && process.versions.node.startsWith('20.')
          ? 'on ARM64, Node 22 and newer do'
          : 'run Node without --disable-wasm-trap-handler, and without a limit of the address space (ulimit -v)'
      )
}

/** What relies on something that does not hold here. */
function features({ native }) {
  native.examineFeatures()
  const off = native.featuresOff()
  if (off.length === 0) return good('all are there')
  const told = off.map(([feature, reason]) => `without ${feature}: ${reason}`).join('; ')
  return off.every(([, reason]) => reason.startsWith('WASM_COMPILE_CACHE_')) ? untold(told) : bad(told, 'look for a newer version')
}

/** What of the code is not free for any use. */
function licence() {
  const { addon, singlepass } = require('../process/licences.js').licences()
  return singlepass
    ? untold(`${addon}: Singlepass takes a sponsorship of Wasmer, Inc. in production; docs/licensing.md says how to do without`)
    : good(`${addon}, without Singlepass`)
}

/** Whether modules that stay on the built-in engine are hot there. */
function codeOfV8() {
  const host = require('../code/host.js')
  if (!host.isThere()) return untold(`none is kept: there is no addon for it (Node's binary interface ${process.versions.modules})`)
  if (host.load() === undefined) return bad('none is kept: the addon for it cannot be loaded', 'npm rebuild wasm-compile-cache')
  return good(`kept, for V8 ${process.versions.v8}`)
}

const fallbacks = ({ native }) => untold(`modules that need ${native.unsupportedFeatures().join(', ')} go to the built-in engine`)

const LIMITS = ['WASM_COMPILE_CACHE_MAX_SIZE', 'WASM_COMPILE_CACHE_MAX_ENTRY_SIZE']

function environment() {
  const set = Object.keys(process.env)
    .filter((name) => /^WASM_(DISABLE_)?COMPILE_CACHE/.test(name))
    .sort()
  const told = set.map((name) => `${name}=${process.env[name]}`).join(' ') || 'no variable is set'
  const { parseSize } = require('../cache/quantities.js')
  const wrong = LIMITS.filter((name) => process.env[name] && parseSize(process.env[name]) === undefined)
  if (wrong.length > 0) return bad(told, `write ${wrong.join(' and ')} like 500M or 2G`)
  return good(told)
}

const octal = (mode) => (mode & 0o7777).toString(8).padStart(4, '0')

/** What in the directory others own, or could write to. */
function strangers(root) {
  const names = ['', ...fs.readdirSync(root)]
  return names
    .map((name) => path.join(root, name))
    .filter((file) => {
      const { uid, mode } = fs.lstatSync(file)
      return uid !== process.geteuid() || (mode & 0o022) !== 0
    })
}

function directory(found, options) {
  const { cache } = require('../../index.js')
  const { status, message, directory: root } = cache.enable({ directory: options.directory })
  if (status === 'disabled') return bad(message, 'remove WASM_DISABLE_COMPILE_CACHE from the environment')
  if (status === 'failed') return bad(message, 'name another directory in WASM_COMPILE_CACHE')
  if (status === 'read-only' || !isWritable(root)) {
    return bad(`${root} can only be read`, 'make it writable, or name another in WASM_COMPILE_CACHE')
  }
  found.cache = cache
  found.root = root
  const others = strangers(root)
  if (others.length > 0) return bad(`${root}: others own or can write to ${others.join(', ')}`, 'remove these, or chmod go-w them')
  return good(`${root}, mode ${octal(fs.lstatSync(root).mode)}, all of it yours alone`)
}

function space({ cache, root }) {
  const { bavail, bsize } = fs.statfsSync(root)
  const free = bavail * bsize
  const { bytes, limit, entries } = cache.stats()
  const count = entries === 1 ? '1 entry' : `${entries} entries`
  const detail = `${count}, ${formatSize(bytes)} of ${formatSize(limit)}; ${formatSize(free)} free on the disk`
  const { NO_LIMIT, environment } = require('../cache/environment.js')
  const { maxEntrySize } = environment
  if (maxEntrySize !== NO_LIMIT && maxEntrySize < LEAST_ROOM) {
    return bad(`${detail}; none of more than ${formatSize(maxEntrySize)}`, 'raise WASM_COMPILE_CACHE_MAX_ENTRY_SIZE')
  }
  return Math.min(limit, free + bytes) < LEAST_ROOM ? bad(detail, 'make room, or raise WASM_COMPILE_CACHE_MAX_SIZE') : good(detail)
}

const locks = ({ native }) =>
  native.cacheLocks()
    ? good('a second holder is refused')
    : bad('the file system has no locks: processes compile the same module twice', 'name a local directory in WASM_COMPILE_CACHE')

const HIDDEN = ['WASM_COMPILE_CACHE_ONLY', 'WASM_COMPILE_CACHE_REMOTE', 'WASM_COMPILE_CACHE_TRACE']

async function probe(cacheDirectory, aborted) {
  const env = {
    ...process.env,
    WASM_COMPILE_CACHE: cacheDirectory,
    WASM_COMPILE_CACHE_FINISH: '0',
    NODE_OPTIONS: plugAndPlay() ?? '',
    NODE_DEBUG: '',
  }
  // What this doctor finds must not be in the way: the limits, and what cuts the compilers off.
  for (const name of [...LIMITS, ...HIDDEN]) delete env[name]
  aborted.throwIfAborted()
  const probing = promisify(execFile)(process.execPath, [PROBE], { env })
  // By hand: execFile's own option does not wait until the process is gone, and its files with it.
  aborted.addEventListener('abort', () => probing.child.kill())
  const { stdout } = await probing
  return JSON.parse(stdout)
}

/** Whether the cache that machines share can be reached, with these keys and rights. */
async function remote(_found, options) {
  let settings
  try {
    settings = settingsFor(options)
  } catch ({ message }) {
    return bad(message, 'see docs/remote.md')
  }
  if (settings === undefined) return untold('none is named')
  const { shown } = require('../remote/settings.js')
  const { connect } = openRemote(options)
  try {
    await connect().probe(settings.writes)
  } catch ({ message }) {
    return bad(`${shown(settings.url)}: ${message}`, 'look at the address, the credentials and the rights')
  }
  return good(`${shown(settings.url)} can be ${settings.writes ? 'read and written' : 'read'}`)
}

const FOLDER = '.tmp-doctor-'
const HOUR = 3600_000

/** What doctors that were killed have left in the cache. */
function removeLeftovers(root) {
  const now = Date.now()
  for (const name of fs.readdirSync(root).filter((name) => name.startsWith(FOLDER))) {
    const folder = path.join(root, name)
    const { mtimeMs = now } = fs.lstatSync(folder, { throwIfNoEntry: false }) ?? {}
    if (now - mtimeMs > HOUR) fs.rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether processes share the code's pages, unless something is in the way. */
const MAPPABLE = process.platform !== 'darwin'

/** One process stores, another one maps and runs. */
async function roundTrip({ root }, _options, aborted) {
  let folder
  try {
    removeLeftovers(root)
    folder = fs.mkdtempSync(path.join(root, FOLDER))
    const first = await probe(folder, aborted)
    const failure = first.events.find(({ name }) => name === 'cacheWriteFailed')
    if (failure !== undefined) return bad(`nothing can be stored: ${failure.reason}`, 'look at the lines above')
    const second = await probe(folder, aborted)
    const hit = second.events.find(({ name }) => name === 'moduleCacheHit')
    if (hit === undefined) return bad('what was stored cannot be loaded', 'NODE_DEBUG=wasm-compile-cache shows why')
    if (hit.pages === 'shared') return good('code that one process stored, another mapped and ran')
    const copied = 'code that one process stored, another copied and ran'
    return MAPPABLE ? bad(`${copied}: no memory is shared`, 'is the file system mounted noexec?') : good(copied)
  } catch (error) {
    if (aborted.aborted) return untold('interrupted')
    return bad(error.message.split('\n')[0], 'please report this: it should not happen')
  } finally {
    if (folder !== undefined) fs.rmSync(folder, { recursive: true, force: true })
  }
}

// `needs`: what an earlier one has found.
const CHECKS = [
  { name: 'Node', look: node },
  { name: 'addon', look: addon },
  { name: 'environment', look: environment },
  { name: 'engine', look: engine, needs: 'native' },
  { name: 'platform', look: platform, needs: 'native' },
  { name: 'licence', look: licence, needs: 'native' },
  { name: 'guard regions', look: guards, needs: 'native' },
  { name: 'features', look: features, needs: 'native' },
  { name: 'fallback', look: fallbacks, needs: 'native' },
  { name: "V8's code", look: codeOfV8, needs: 'native' },
  { name: 'directory', look: directory, needs: 'native' },
  { name: 'space', look: space, needs: 'root' },
  { name: 'locks', look: locks, needs: 'root' },
  { name: 'executable mappings', look: roundTrip, needs: 'root' },
  { name: 'remote', look: remote, needs: 'native' },
]

async function examine(options, aborted) {
  const found = {}
  const checks = []
  for (const { name, look, needs } of CHECKS) {
    const missing = needs !== undefined && found[needs] === undefined
    checks.push({
      name,
      ...(missing ? untold('not checked, because of what is wrong above') : await look(found, options, aborted)),
    })
  }
  return checks
}

function line({ name, ok, detail, advice }, { green, red, dim }) {
  const mark = ok === null ? dim('-') : ok ? green('ok') : red('wrong')
  return [mark, name, advice === undefined ? detail : `${detail}. Advice: ${advice}`]
}

module.exports = {
  usage: 'doctor',
  summary: 'find out what keeps the cache from working',
  help: 'Exit code 1 if something is wrong. To try storing, it makes a folder of its own in the cache, and removes it.',

  options: addOptions,

  async run(_args, options, screen) {
    return interruptible(async (aborted) => {
      const checks = await examine(options, aborted)
      const ok = checks.every((check) => check.ok !== false)
      return { code: ok ? 0 : 1, json: { ok, checks }, text: table(checks.map((check) => line(check, screen))) }
    })
  },
}
