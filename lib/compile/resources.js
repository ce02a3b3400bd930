'use strict'

// The cache of resources: modules by their URL.
//
// Owns: fetching what was given as an http(s): URL or a Request, and the rules of HTTP (RFC 9111) and of the Fetch
// Standard's cache modes for using what was fetched before. The native side has the records and bytes;
// http-cache-semantics, as a private cache, decides which response is fresh.
//
// Promise: a URL or a Request gives what fetch() of it would have given, errors included, except that a module that was
// fetched before may come without a request, or without a body.
//
// What is stricter than HTTP, because a program that calls fetch() expects no cache at all:
// - nothing is fresh by guessing from its Last-Modified;
// - what was fetched with other credentials, or by the program itself (whose method and headers are unknown), is never
//   fresh, but asked for again with its ETag: a date does not say whose module it is;
// - what was redirected is never fresh: the headers of the redirections cannot be seen;
// - stale-while-revalidate is not used.
//
// A record's policy is the JSON of {policy (http-cache-semantics'), url (the response's), redirected, credentials, salt}.

const { createHmac, randomBytes } = require('node:crypto')

const events = require('../events/events.js')
const { mayFetch } = require('../process/permission.js')
const { httpAddress, isRequest } = require('./sources.js')

// Loaded when it is needed.
const semantics = () => require('http-cache-semantics')

const PRIVATE = { shared: false, cacheHeuristic: 0, immutableMinTimeToLive: 0 }

const now = () => performance.timeOrigin + performance.now()

// Requests

// Fetch Standard, "HTTP-network-or-cache fetch": with one of these the caller does the cache's work.
const CONDITIONS = ['if-modified-since', 'if-none-match', 'if-unmodified-since', 'if-match', 'if-range', 'range']
const MODES = ['default', 'no-cache', 'reload', 'force-cache', 'only-if-cached']
const SAFE_METHODS = ['GET', 'HEAD', 'OPTIONS']
const SECRETS = ['authorization', 'cookie', 'proxy-authorization']

/** Distinguishes values without revealing them; each record has a salt of its own, so that no table of digests helps. */
const digest = (text, salt) => createHmac('sha256', salt).update(text).digest('base64')

function describe(source) {
  const address = httpAddress(source)
  if (!isRequest(source)) return { address, mode: 'default', method: 'GET', headers: {} }
  const headers = {}
  source.headers.forEach((value, name) => (headers[name] = value))
  return { address, mode: modeOf(source, headers), method: source.method, headers }
}

/** The request's cache mode; 'no-store' wherever a record is of no use. */
function modeOf({ method, cache = 'default', integrity = '' }, headers) {
  const plain = method === 'GET' && integrity === '' && !CONDITIONS.some((name) => name in headers)
  if (!plain || !MODES.includes(cache) || /\bno-store\b/i.test(headers['cache-control'])) return 'no-store'
  return cache
}

const credentialsOf = (headers, salt) => {
  const given = SECRETS.filter((name) => name in headers)
  return given.length === 0 ? '' : digest(JSON.stringify(given.map((name) => [name, headers[name]])), salt)
}

/** The request as the policy sees it. Values are compared by their digests: a policy keeps those that Vary names. */
function asSeen(headers, salt, cacheControl = headers['cache-control']) {
  const seen = {}
  for (const [name, value] of Object.entries(headers)) seen[name] = name === 'pragma' ? value : digest(value, salt)
  delete seen['cache-control']
  // That the client accepts something stale is no reason to give it that.
  const asked = cacheControl?.toLowerCase().replace(/\bmax-stale(=\d+)?/g, '')
  if (asked) seen['cache-control'] = asked
  return { method: 'GET', headers: seen }
}

// Responses

const GOVERNING = [
  'age',
  'cache-control',
  'content-encoding',
  'content-length',
  'date',
  'etag',
  'expires',
  'last-modified',
  'pragma',
  'vary',
]

/**
 * Cache-Control as http-cache-semantics reads it right: it knows names in lower case only, takes the last of several
 * values (RFC 9111, 4.2.1: the first), never has must-revalidate be fresh (5.2.2.2: until it is stale), and serves what
 * must be revalidated when the server fails.
 */
function normalized(cacheControl) {
  const directives = new Map()
  for (const part of cacheControl.toLowerCase().split(',')) {
    const name = part.split('=', 1)[0].trim()
    if (!directives.has(name)) directives.set(name, part.trim())
  }
  if (directives.has('must-revalidate') || directives.has('no-cache')) directives.delete('stale-if-error')
  directives.delete('must-revalidate')
  return [...directives.values()].join(', ')
}

function governing(response) {
  const headers = {}
  for (const name of GOVERNING) {
    const value = response.headers.get(name)
    if (value !== null) headers[name] = name === 'cache-control' ? normalized(value) : value
  }
  return headers
}

const sameValidator = (one, other) =>
  one.etag !== undefined || other.etag !== undefined
    ? one.etag === other.etag
    : one['last-modified'] !== undefined &&
      one['last-modified'] === other['last-modified'] &&
      one['content-length'] === other['content-length']

/** Whether their validators tell them apart. */
const differs = (one, other) => {
  const name = ['etag', 'last-modified'].find((name) => one[name] !== undefined && other[name] !== undefined)
  return name !== undefined && one[name] !== other[name]
}

/**
 * Whether it is the whole of a resource (no part of it, as of status 206), and the network gave it: a Response that a
 * program made, or one of another class, may hold anybody's bytes.
 */
const isWhole = (response) =>
  response.status === 200 &&
  ['basic', 'cors'].includes(response.type) &&
  typeof response.url === 'string' &&
  typeof response.headers?.get === 'function'

/** How old a response is when it arrives, in whole seconds (RFC 9111, 4.2.3). */
function ageOf({ age, date }, delay) {
  const seconds = [(Date.now() - Date.parse(date)) / 1000, (Number.parseInt(age) || 0) + delay / 1000, 0]
  return String(Math.floor(Math.max(...seconds.filter((one) => !Number.isNaN(one)))))
}

/**
 * The policy to record for a response that brings or confirms a module; undefined if it must not be stored, or if nothing
 * can be done with it later.
 *
 * @param {object} headers see governing()
 * @param {object} request as describe() gives it; undefined for the caller's own
 * @param {{url: string, redirected: boolean}} response
 * @param {number} delay how long the response was waited for, in milliseconds
 */
function policyFor(headers, request, { url, redirected }, delay) {
  const { etag, vary } = headers
  if (request === undefined && vary !== undefined && etag === undefined) return undefined
  const varying = (vary ?? '')
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
  const named = Object.entries(request?.headers ?? {}).filter(([name]) => varying.includes(name))
  const salt = randomBytes(16).toString('base64')
  const CachePolicy = semantics()
  const aged = { ...headers, age: ageOf(headers, delay) }
  const policy = new CachePolicy(asSeen(Object.fromEntries(named), salt, ''), { status: 200, headers: aged }, PRIVATE)
  if (!policy.storable()) return undefined
  if (etag === undefined && headers['last-modified'] === undefined && policy.timeToLive() === 0) return undefined
  const credentials = request === undefined ? null : credentialsOf(request.headers, salt)
  return JSON.stringify({ policy: policy.toObject(), url, redirected, credentials, salt })
}

// Records

/** What is known of an address; null if nothing is, or nothing that can be understood. */
function read(native, address, options) {
  const record = native.resourceRead(address, options)
  if (record === null) return null
  try {
    const { policy, url, redirected, credentials, salt } = JSON.parse(record.policy)
    const told = { headers: policy.resh, recorded: policy.t, url, redirected, credentials, salt }
    return typeof salt === 'string' ? { ...record, text: record.policy, policy: semantics().fromObject(policy), ...told } : null
  } catch {
    // Another version's, as one without a salt is.
    return null
  }
}

/** Whether the record is of what this request would give, even if it is stale. */
function fits(record, { headers }) {
  if (record.redirected || record.credentials !== credentialsOf(headers, record.salt)) return false
  const seen = asSeen(headers, record.salt, '')
  seen.headers['cache-control'] = 'max-stale'
  return record.policy.evaluateRequest(seen).revalidation === undefined
}

/** Whether the record may be used without asking. */
function isFresh(record, request) {
  const { mode, headers } = request
  if (!fits(record, request) || mode === 'no-cache') return false
  if (mode !== 'default') return true
  // A clock that was put back makes nothing fresh.
  return Date.now() >= record.recorded && record.policy.evaluateRequest(asSeen(headers, record.salt)).revalidation === undefined
}

const FAILURES = [500, 502, 503, 504]
const GONE = [404, 410]

/** Whether it may be used although the server failed (RFC 5861, stale-if-error). */
function mayServeStale(record, request, status) {
  if (request.mode !== 'default' || !fits(record, request) || !FAILURES.includes(status)) return false
  const asked = asSeen(request.headers, record.salt)
  if (/\bno-cache\b/.test(`${asked.headers['cache-control']} ${asked.headers.pragma}`)) return false
  const { matches, modified } = record.policy.revalidatedPolicy(asked, { status, headers: {} })
  return matches && !modified
}

/** The headers that ask whether the record still holds; undefined if it has no validator for this request. */
function conditionsOf(record, { headers }) {
  const all = record.policy.revalidationHeaders(asSeen(headers, record.salt))
  // A date tells versions apart, but not one user's module from another's.
  const isTheirs = record.credentials === credentialsOf(headers, record.salt)
  const validators = isTheirs ? ['if-none-match', 'if-modified-since'] : ['if-none-match']
  const names = validators.filter((name) => all[name] !== undefined)
  if (names.length === 0) return undefined
  const conditions = { ...headers }
  for (const name of names) conditions[name] = all[name]
  return conditions
}

/** Whether a 304 is about the representation of the record (RFC 9111, 4.3.4), from where that came from. */
function confirms(record, response) {
  const weak = (etag) => etag.replace(/^W\//, '')
  const { etag, 'last-modified': modified } = governing(response)
  if (response.url !== record.url) return false
  if (etag !== undefined) return weak(etag) === weak(record.headers.etag ?? '')
  return modified === undefined || modified === record.headers['last-modified']
}

/** What is to be recorded after a 304: its headers in the place of the stored ones. */
function renewed(record, request, response, delay) {
  const { age: _age, date: _date, ...stored } = record.headers
  const { 'content-length': _length, 'content-encoding': _encoding, ...sent } = governing(response)
  return policyFor({ ...stored, ...sent }, request, response, delay)
}

// Fetching

/**
 * One source that we fetch.
 *
 * @param {object} context
 * @param {object} context.native
 * @param {object} context.options as ./options.js reads them
 * @param {boolean} context.caching whether records may be used at all
 * @param {AbortSignal} context.signal ends the fetch, and the body after it
 * @param {(record: object, fetched: object | undefined) => Promise<object | null>} context.compile makes the module of
 *   what was kept, and records `fetched`; null if it is gone
 */
class Retrieval {
  #context
  #source
  #request
  #started = now()
  #delay = 0

  constructor(source, context) {
    this.#source = source
    this.#context = context
    this.#request = describe(source)
  }

  /**
   * @returns {Promise<{handle: object} | {response: object, fetched?: object}>} the module, or the response that brings
   *   it and what to record once it is compiled
   */
  async run() {
    const { native, options, caching } = this.#context
    const { address, mode } = this.#request
    if (!caching || options.native.cache === 0 || mode === 'no-store' || !mayFetch()) return this.#fetched()
    const record = read(native, address, options.native)
    const isKept = record !== null && (record.artifact || record.bytes) && mode !== 'reload'
    if (isKept && isFresh(record, this.#request)) {
      const handle = await this.#context.compile(record, undefined)
      if (handle !== null) return this.#told('fresh', undefined, { handle })
      return this.#full(record, await this.#fetch())
    }
    const revalidates = isKept && mode !== 'only-if-cached'
    return revalidates ? this.#revalidate(record) : this.#full(record, await this.#fetch())
  }

  /** The module, or the response to take instead. */
  async #revalidate(record) {
    const headers = conditionsOf(record, this.#request)
    // Otherwise the condition would make the mode no-store, which keeps the caches on the way from answering.
    const condition = headers && { headers, cache: 'no-cache' }
    let response
    try {
      response = await this.#fetch(condition)
    } catch (error) {
      // As a gateway would say.
      const handle = this.#context.signal.aborted ? null : await this.#stale(record, 504)
      if (handle === null) throw error
      return this.#told('stale', undefined, { handle })
    }
    if (condition !== undefined && response.status === 304) {
      return (await this.#confirmed(record, response)) ?? this.#full(record, await this.#fetch())
    }
    const handle = await this.#stale(record, response.status)
    if (handle === null) return this.#full(record, response)
    response.body?.cancel().catch(() => {})
    return this.#told('stale', response.status, { handle })
  }

  async #stale(record, status) {
    return mayServeStale(record, this.#request, status) ? this.#context.compile(record, undefined) : null
  }

  /** The module that the 304 is about; undefined if that is not the one that was kept, or it is gone. */
  async #confirmed(record, response) {
    if (!confirms(record, response)) return undefined
    const { address } = this.#request
    const policy = renewed(record, this.#request, response, this.#delay)
    const handle = await this.#context.compile(record, policy && { url: address, policy })
    if (handle === null) return undefined
    if (policy === undefined) this.#forget()
    return this.#told('revalidated', 304, { handle })
  }

  /** A response in full, whatever it says. What is to be recorded is, once it is compiled. */
  #full(record, response) {
    const { status } = response
    if (!isWhole(response)) {
      if (record !== null && GONE.includes(status)) this.#forget()
      return this.#told('fetched', status, { response })
    }
    const { address } = this.#request
    const headers = governing(response)
    const policy = policyFor(headers, this.#request, response, this.#delay)
    const same = record !== null && sameValidator(record.headers, headers)
    // At once, because this may not be a module, or not be recorded.
    if (record !== null && (policy === undefined || !same)) this.#forget()
    return this.#told(record !== null && differs(record.headers, headers) ? 'changed' : 'fetched', status, {
      response,
      fetched: policy && { url: address, policy },
    })
  }

  async #fetched() {
    const response = await this.#fetch()
    // RFC 9111, 4.4: what it did may have changed what is there.
    if (!SAFE_METHODS.includes(this.#request.method) && response.status < 400) this.#forget()
    return this.#told('fetched', response.status, { response })
  }

  /** The program's fetch, of this moment. */
  async #fetch(init) {
    // eslint-disable-next-line n/no-unsupported-features/node-builtins -- there, without a flag, since Node 18
    const { fetch } = globalThis
    const asked = now()
    const response = await fetch(this.#source, { ...init, signal: this.#context.signal })
    this.#delay = now() - asked
    return response
  }

  #forget() {
    this.#context.native.resourceForget(this.#request.address, this.#context.options.native)
  }

  #told(outcome, status, result) {
    const event = { name: 'resource', ts: this.#started, dur: now() - this.#started, source: this.#request.address, outcome }
    if (status !== undefined) event.status = status
    events.emit(event)
    return result
  }
}

const retrieve = (source, context) => new Retrieval(source, context).run()

/**
 * What to record for a Response that the program fetched.
 *
 * @returns {{fetched?: object}}
 */
function recognize(response, native, options) {
  if (options.native.cache === 0 || !isWhole(response)) return {}
  const address = httpAddress({ href: response.url, protocol: response.url.slice(0, response.url.indexOf(':') + 1) })
  if (address === undefined) return {}
  const headers = governing(response)
  const policy = policyFor(headers, undefined, { url: response.url, redirected: false }, 0)
  if (policy === undefined) return {}
  const record = read(native, address, options.native)
  if (record === null || !sameValidator(record.headers, headers)) return { fetched: { url: address, policy } }
  // By the date alone it may be what another request gives.
  if (headers.etag === undefined) return {}
  // What we know of our own request stays known.
  return { fetched: { url: address, policy: record.text } }
}

module.exports = { recognize, retrieve }
