'use strict'

// Reading and writing objects by name, wherever they are. A folder and a web server are reached with what Node has; all others
// with Apache OpenDAL, which takes credentials from where the service's own tools take them.
//
// A storage has
//
//   read(name, signal, there)               a Buffer; undefined if there is none. there() is called before its bytes come
//   write(name, bytes, {exclusive, signal}) whether it was written; with `exclusive` only if there was none
//   exists(name, signal)
//   remove(name)
//   ready()                                 resolves when it can be asked
//   list(folder)                            names in it; undefined where the service cannot say
//   isExclusive()                           whether `exclusive` is certain
//
// Promise: whatever goes wrong is a rejected promise, and no message has credentials. OpenDAL is loaded for what
// needs it only, in a process of its own.

const crypto = require('node:crypto')
const { constants } = require('node:fs')
const fs = require('node:fs/promises')
const path = require('node:path')
const { fileURLToPath } = require('node:url')

const { aroundName, authorizationOf } = require('./direct.js')
const { findPackage, shown } = require('./settings.js')

const isMissing = ({ code }) => code === 'ENOENT' || code === 'ENOTDIR'

/** Larger than this nothing is read, in bytes: whoever can write there must not fill the memory of those who read. */
const LARGEST = 512 * 2 ** 20

const tooLarge = (size) => new Error(`it has ${size} bytes, more than the ${LARGEST} that are read`)

/** The bytes of a regular file: a pipe would never end. */
async function readFile(file, there = () => {}) {
  const handle = await fs.open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw new Error('it is not a regular file')
    if (stat.size > LARGEST) throw tooLarge(stat.size)
    there()
    const bytes = Buffer.allocUnsafeSlow(stat.size)
    const { bytesRead } = await handle.read(bytes, 0, stat.size, 0)
    return bytes.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}

/** A folder that machines share. */
function folder(address) {
  const root = fileURLToPath(address)
  const place = (name) => path.join(root, ...name.split('/'))
  const missing = (value) => (error) => {
    if (isMissing(error)) return value
    throw error
  }
  return {
    ready: async () => {},
    isExclusive: () => true,
    read: (name, _signal, there) => readFile(place(name), there).catch(missing()),
    exists: (name) => fs.access(place(name)).then(() => true, missing(false)),
    remove: (name) => fs.rm(place(name), { force: true }),
    list: (name) => fs.readdir(place(name)).catch(missing([])),
    async write(name, bytes, { exclusive = false, signal } = {}) {
      const file = place(name)
      await fs.mkdir(path.dirname(file), { recursive: true })
      // It has its name when it is whole.
      const temporary = `${file}.${crypto.randomBytes(6).toString('hex')}.tmp`
      try {
        await fs.writeFile(temporary, bytes, { flag: 'wx', signal })
        if (!exclusive) await fs.rename(temporary, file)
        else await fs.link(temporary, file)
        return true
      } catch (error) {
        if (exclusive && error.code === 'EEXIST') return false
        throw error
      } finally {
        await fs.rm(temporary, { force: true })
      }
    },
  }
}

const REDIRECTS = [301, 302, 303, 307, 308]
const MOST_REDIRECTS = 5

const isGood = (status) => status >= 200 && status < 300

/** One request; `{status, bytes}`; `there` is called before the bytes of a good answer come. Node's own client: the first fetch() of a process takes 100 ms longer. */
function send(url, { method, headers, body, signal, there = () => {} }) {
  const { request } = url.protocol === 'https:' ? require('node:https') : require('node:http')
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, signal }, (response) => {
      const chunks = []
      let size = 0
      if (isGood(response.statusCode)) there()
      response.on('data', (chunk) => {
        chunks.push(chunk)
        size += chunk.length
        if (size > LARGEST) response.destroy(tooLarge(size))
      })
      response.on('error', reject)
      response.on('end', () => {
        const { statusCode: status, statusMessage: said, headers } = response
        resolve({ status, said, location: headers.location, bytes: Buffer.concat(chunks) })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** A web server: GET and PUT, as WebDAV has them. */
function web(address, environment) {
  const base = new URL(address)
  const authorization = authorizationOf(base, environment)
  const { prefix, suffix } = aroundName(base)
  const place = (name) => new URL(`${prefix}${name}${suffix}`)
  const request = async (method, name, { headers, ...options } = {}, accepted = []) => {
    let url = place(name)
    for (let left = MOST_REDIRECTS; ; left--) {
      // Who is redirected to is not who was meant to have it.
      const own = authorization && url.origin === base.origin ? { authorization } : {}
      const answer = await send(url, { method, headers: { ...headers, ...own }, ...options })
      const { status, said, location } = answer
      if (isGood(status) || accepted.includes(status)) return answer
      const isRedirect = REDIRECTS.includes(status) && location !== undefined && left > 0
      if (!isRedirect) throw new Error(`the server answered ${status} ${said}`)
      url = new URL(location, url)
      if (!['http:', 'https:'].includes(url.protocol)) throw new Error(`the server redirects to ${url.protocol}`)
    }
  }
  const NONE = [404, 410]
  const isThere = ({ status }) => !NONE.includes(status)
  return {
    ready: async () => {},
    // Servers that do not know the condition ignore it.
    isExclusive: () => false,
    async read(name, signal, there) {
      const answer = await request('GET', name, { signal, there }, NONE)
      return isThere(answer) ? answer.bytes : undefined
    },
    exists: async (name, signal) => isThere(await request('HEAD', name, { signal }, NONE)),
    remove: (name) => request('DELETE', name, {}, NONE),
    list: async () => undefined,
    async write(name, body, { exclusive = false, signal } = {}) {
      const headers = { 'content-length': body.length, ...(exclusive ? { 'if-none-match': '*' } : {}) }
      const { status } = await request('PUT', name, { headers, body, signal }, exclusive ? [412] : [])
      return status !== 412
    },
  }
}

const decoded = ({ pathname }) => decodeURIComponent(pathname.slice(1))

/** What OpenDAL calls a service, and what it wants to know of it. */
const CONFIGURATIONS = {
  's3:': (url) => ({ scheme: 's3', options: { bucket: url.hostname, root: `/${decoded(url)}` } }),
  'gcs:': (url) => ({ scheme: 'gcs', options: { bucket: url.hostname, root: `/${decoded(url)}` } }),
  'azblob:': (url) => ({ scheme: 'azblob', options: { container: url.hostname, root: `/${decoded(url)}` } }),
  'ghac:': (url) => ({ scheme: 'ghac', options: { version: url.hostname || 'wasm-compile-cache', root: `/${decoded(url)}` } }),
  'memcached:': (url) => ({ scheme: 'memcached', options: { endpoint: `tcp://${url.host}`, ...login(url) } }),
  'redis:': redis,
  'rediss:': redis,
}

/** As redis-cli has it: the path is the number of the database. */
function redis(url) {
  const options = { endpoint: `${url.protocol}//${url.host}`, ...login(url) }
  if (url.pathname.length > 1) options.db = url.pathname.slice(1)
  return { scheme: 'redis', options }
}

const login = ({ username, password }) => ({
  ...(username === '' ? {} : { username: decodeURIComponent(username) }),
  ...(password === '' ? {} : { password: decodeURIComponent(password) }),
})

const OPENDAL = path.join(__dirname, 'remote-opendal.js')

/** The other process, as long as this one has questions; `ask` rejects when it has ended. */
function startOpendal(address) {
  const { spawn } = require('node:child_process')
  const { detachedEnvironment } = require('../process/detached.js')
  const { areWaitedFor } = require('../process/orphans.js')
  const { frames, write } = require('./frames.js')
  // Where it would stay in the process table, it is not started.
  if (process.pid !== 1 && !areWaitedFor()) throw new Error(`${shown(address)} is not used: process 1 waits for no orphans`)
  const url = new URL(address)
  const { scheme, options } = CONFIGURATIONS[url.protocol](url)
  const configuration = JSON.stringify({ ...options, ...Object.fromEntries(url.searchParams) })
  const child = spawn(process.execPath, [OPENDAL, findPackage(address), scheme, configuration], {
    // What signs is nothing that reaches a service.
    env: { ...detachedEnvironment(), WASM_COMPILE_CACHE_REMOTE_SIGN: undefined, WASM_ARCHIVE_PASSPHRASE: undefined },
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const asked = new Map()
  let ended
  const end = (message) => {
    ended ??= new Error(message)
    for (const { reject } of asked.values()) reject(ended)
    asked.clear()
  }
  child.on('error', ({ message }) => end(message))
  child.on('exit', () => end('the process of OpenDAL has ended'))
  child.stdin.on('error', () => {})
  for (const handle of [child, child.stdin, child.stdout]) handle.unref()
  const wait = (id) =>
    new Promise((resolve, reject) => {
      if (ended === undefined) asked.set(id, { resolve, reject })
      else reject(ended)
    })
  const capabilities = wait('first')
  capabilities.catch(() => {})
  const listen = async () => {
    for await (const { id = 'first', ...answer } of frames(child.stdout)) {
      asked.get(id)?.resolve(answer)
      asked.delete(id)
    }
  }
  listen().catch(({ message }) => end(message))
  let last = 0
  return {
    async capabilities() {
      const found = await capabilities
      if (found.error !== undefined) throw new Error(found.error)
      return found
    },
    ask(request, bytes) {
      const id = ++last
      const answer = wait(id)
      write(child.stdin, { id, ...request }, bytes)
      return answer
    },
  }
}

/** Whatever else OpenDAL reaches. */
function others(address) {
  const opendal = startOpendal(address)
  const call = async (request, { bytes, expected = {} } = {}) => {
    await opendal.capabilities()
    const answer = await opendal.ask(request, bytes)
    const { error } = answer
    if (error === undefined) return answer
    if (Object.hasOwn(expected, error.kind)) return expected[error.kind]
    throw new Error(error.message)
  }
  return {
    ready: opendal.capabilities,
    isExclusive: async () => (await opendal.capabilities()).isExclusive,
    async read(name, signal, there) {
      if (there !== undefined) {
        if (!(await this.exists(name))) return undefined
        there()
      }
      return (await call({ action: 'read', name, largest: LARGEST }, { expected: { NotFound: {} } })).bytes
    },
    exists: async (name) => (await call({ action: 'exists', name })).found,
    remove: (name) => call({ action: 'remove', name }),
    async list(name) {
      if (!(await opendal.capabilities()).list) return undefined
      const { names } = await call({ action: 'list', name }, { expected: { NotFound: { names: [] } } })
      return names.map((found) => path.posix.basename(found))
    },
    async write(name, bytes, { exclusive = false } = {}) {
      const isCertain = exclusive && (await this.isExclusive())
      if (exclusive && !isCertain && (await this.exists(name))) return false
      const expected = { ConditionNotMatch: { found: false } }
      return (await call({ action: 'write', name, exclusive: isCertain }, { bytes, expected })).found
    },
  }
}

/** @param {string} address */
function open(address, environment) {
  const { protocol } = new URL(address)
  if (protocol === 'file:') return folder(address)
  return protocol === 'http:' || protocol === 'https:' ? web(address, environment) : others(address)
}

/** A thread that gets no processor is late for each of them, and must not take that for a server's silence. */
const SLICE = 100 // ms

/** Fails when it takes longer than `limit` (ms), as this thread counts; `action` may give itself another one, from then on. */
async function within(limit, address, action) {
  const controller = new AbortController()
  let timer
  let left = limit
  const late = new Promise((_, reject) => {
    const wait = () => {
      timer = setTimeout(() => {
        left -= SLICE
        if (left > 0) {
          wait()
          return
        }
        reject(new Error(`${shown(address)} has not answered within ${limit / 1000} s`))
        controller.abort()
      }, SLICE)
    }
    wait()
  })
  const give = (more) => {
    limit = more
    left = more
  }
  const acting = action(controller.signal, give)
  acting.catch(() => {})
  try {
    return await Promise.race([acting, late])
  } finally {
    clearTimeout(timer)
  }
}

module.exports = { open, within }
