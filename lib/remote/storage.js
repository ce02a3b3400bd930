'use strict'

// Reading and writing objects by name, wherever they are. A folder and a web server are reached with what Node has; all others
// with Apache OpenDAL, which takes credentials from where the service's own tools take them.
//
// A storage has
//
//   read(name, signal)                      a Buffer; undefined if there is none
//   write(name, bytes, {exclusive, signal}) whether it was written; with `exclusive` only if there was none
//   exists(name, signal)
//   remove(name)
//   list(folder)                            names in it; undefined where the service cannot say
//   isExclusive                             whether `exclusive` is certain
//
// Promise: whatever goes wrong is a rejected promise, and no message has credentials. OpenDAL is loaded for what needs it only.

const crypto = require('node:crypto')
const fs = require('node:fs/promises')
const path = require('node:path')
const { fileURLToPath } = require('node:url')

const { findPackage, shown } = require('./settings.js')

const isMissing = ({ code }) => code === 'ENOENT' || code === 'ENOTDIR'

/** A folder that machines share. */
function folder(address) {
  const root = fileURLToPath(address)
  const place = (name) => path.join(root, ...name.split('/'))
  const missing = (value) => (error) => {
    if (isMissing(error)) return value
    throw error
  }
  return {
    isExclusive: true,
    read: (name, signal) => fs.readFile(place(name), { signal }).catch(missing()),
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

/** A web server: GET and PUT, as WebDAV has them. */
function web(address, { WASM_COMPILE_CACHE_REMOTE_TOKEN: token }) {
  const url = new URL(address)
  const authorization =
    url.username === ''
      ? token && `Bearer ${token}`
      : `Basic ${Buffer.from(`${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`).toString('base64')}`
  const place = (name) => `${url.origin}${url.pathname.replace(/\/$/, '')}/${name}${url.search}`
  const request = async (method, name, { headers, ...options } = {}, accepted = []) => {
    let response
    try {
      // eslint-disable-next-line n/no-unsupported-features/node-builtins -- in Node 20 it is stable but for its name
      response = await fetch(place(name), {
        method,
        headers: { ...headers, ...(authorization ? { authorization } : {}) },
        ...options,
      })
    } catch (error) {
      throw new Error(error.cause?.message || error.cause?.code || error.message, { cause: error })
    }
    if (response.ok || accepted.includes(response.status)) return response
    await response.body?.cancel()
    throw new Error(`the server answered ${response.status} ${response.statusText}`)
  }
  const NONE = [404, 410]
  return {
    // Servers that do not know the condition ignore it.
    isExclusive: false,
    async read(name, signal) {
      const response = await request('GET', name, { signal }, NONE)
      if (response.ok) return Buffer.from(await response.arrayBuffer())
      await response.body?.cancel()
      return undefined
    },
    exists: async (name, signal) => (await request('HEAD', name, { signal }, NONE)).ok,
    remove: async (name) => {
      const response = await request('DELETE', name, {}, NONE)
      await response.body?.cancel()
    },
    list: async () => undefined,
    async write(name, bytes, { exclusive = false, signal } = {}) {
      const headers = exclusive ? { 'if-none-match': '*' } : {}
      const response = await request('PUT', name, { headers, body: bytes, signal }, exclusive ? [412] : [])
      await response.body?.cancel()
      return response.ok
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

/** The last words of OpenDAL's messages say what happened; before them are headers and addresses. */
function worded(error) {
  const { message } = error
  const [kind] = message.split(' ', 1)
  const end = message.lastIndexOf(' => ')
  const said = end === -1 ? message : message.slice(end + 4)
  return Object.assign(new Error(`${kind}: ${said.split('\n')[0].slice(0, 200)}`), { kind })
}

const NAMED = 'NAPI_RS_NATIVE_LIBRARY_PATH'

/** OpenDAL's loader, like that of every addon of napi-rs, takes this variable to be about its own addon. */
function load(file) {
  const { [NAMED]: named } = process.env
  delete process.env[NAMED]
  try {
    return require(file)
  } catch (error) {
    // npm's bug is what the loader blames, whatever the cause.
    const causes = [error.cause].flat().filter((cause) => cause instanceof Error && !cause.message.startsWith('Cannot find module'))
    throw new Error(`The package "opendal" cannot be loaded: ${causes[0]?.message ?? error.message}`, { cause: error })
  } finally {
    if (named !== undefined) process.env[NAMED] = named
  }
}

function opendal(address) {
  const url = new URL(address)
  const { scheme, options } = CONFIGURATIONS[url.protocol](url)
  const { Operator } = load(findPackage(address))
  const operator = new Operator(scheme, { ...options, ...Object.fromEntries(url.searchParams) })
  const { writeWithIfNotExists: isExclusive, list } = operator.capability()
  const call = async (action, expected = {}) => {
    try {
      return await action()
    } catch (error) {
      const told = worded(error)
      if (Object.hasOwn(expected, told.kind)) return expected[told.kind]
      throw told
    }
  }
  return {
    isExclusive,
    read: (name) => call(() => operator.read(name), { NotFound: undefined }),
    exists: (name) => call(() => operator.exists(name)),
    remove: (name) => call(() => operator.delete(name)),
    async list(name) {
      if (!list) return undefined
      const entries = await call(() => operator.list(`${name}/`), { NotFound: [] })
      return entries.map((entry) => path.posix.basename(entry.path()))
    },
    async write(name, bytes, { exclusive = false } = {}) {
      if (!exclusive || isExclusive) {
        const options = exclusive ? { ifNotExists: true } : undefined
        return (await call(() => operator.write(name, bytes, options), { ConditionNotMatch: false })) !== false
      }
      if (await this.exists(name)) return false
      await call(() => operator.write(name, bytes))
      return true
    },
  }
}

/** @param {string} address */
function open(address, environment) {
  const { protocol } = new URL(address)
  if (protocol === 'file:') return folder(address)
  return protocol === 'http:' || protocol === 'https:' ? web(address, environment) : opendal(address)
}

/** Fails when it takes longer than `limit` (ms). What OpenDAL does cannot be stopped, and ends for nobody. */
async function within(limit, address, action) {
  const controller = new AbortController()
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${shown(address)} has not answered within ${limit / 1000} s`))
      controller.abort()
    }, limit)
  })
  const acting = action(controller.signal)
  acting.catch(() => {})
  try {
    return await Promise.race([acting, late])
  } finally {
    clearTimeout(timer)
  }
}

module.exports = { open, within }
