'use strict'
// What HTTP and the Fetch Standard say of a module's address, and that it is otherwise as if the program had called fetch().

const diagnostics = require('node:diagnostics_channel')
const { promisify } = require('node:util')
const { setTimeout } = require('node:timers/promises')
const test = require('ava')
const { Instance, compileStreaming, instantiateStreaming } = require('../index.js')
const native = require('../binding.js')
const { readOptions } = require('../dist/engine.js').load('compile/options.js')
const { outcome } = require('./fixtures/streaming.js')
const { WASM, origin, standard } = require('./support/origin.js')
const { answer } = require('./support/wat.js')

const flush = promisify((done) => native.cacheFlush(done))

const [JANUARY, JUNE] = ['Wed, 01 Jan 2025 10:00:00 GMT', 'Sun, 01 Jun 2025 10:00:00 GMT']

const outcomes = []
diagnostics.subscribe('wasm-compile-cache:resource', (event) => outcomes.push(event))

// Each test has an address, and a module, of its own.
let next = 2000
async function server(t, headers, respond) {
  const number = next++
  const site = await origin(t, await answer(number), headers, respond)
  site.number = number
  return site
}

/** Compiles; what its `answer` is, and what became of the address. */
async function load(source, options) {
  const { href } = new URL(source.url ?? source)
  outcomes.length = 0
  const module = await compileStreaming(source, { minSize: 0, ...options })
  await flush()
  const [told] = outcomes.filter((event) => event.source === href.split('#')[0])
  return [new Instance(module).exports.answer(), told?.outcome]
}

/** Loads again and again; the outcomes, and of each request the status. */
async function sequence(t, site, ...sources) {
  const seen = []
  for (const source of sources) {
    const [number, told] = await load(source)
    t.is(number, site.number)
    seen.push(told)
  }
  return [...seen, ...site.asked.splice(0).map(({ status }) => status)]
}

const twice = (t, site) => sequence(t, site, site.url, site.url)

test.serial('a URL, a Request, a promise of them, and instantiateStreaming', async (t) => {
  const site = await server(t, {})
  const request = () => new Request(site.url)
  for (const source of [site.url, request(), Promise.resolve(site.url), Promise.resolve(request())]) {
    const { instance } = await instantiateStreaming(source, {}, { minSize: 0 })
    t.is(instance.exports.answer(), site.number)
  }
  t.is(site.asked.length, 4)
})

// ── Freshness ───────────────────────────────────────────────────────────────────────────────────────────────────────

const fresh = ['fetched', 'fresh', 200]
const asked = ['fetched', 'revalidated', 200, 304]
const unknown = ['fetched', 'fetched', 200, 200]
const soon = () => new Date(Date.now() + 3600_000).toUTCString()
for (const [what, headers, expected] of [
  ['max-age', { 'cache-control': 'max-age=600' }, fresh],
  ['max-age, in other letters', { 'cache-control': 'Public, Max-Age="600"' }, fresh],
  ['max-age with must-revalidate', { 'cache-control': 'max-age=600, must-revalidate' }, fresh],
  ['private max-age', { 'cache-control': 'private, max-age=600' }, fresh],
  ['Expires', { expires: soon(), date: new Date().toUTCString() }, fresh],
  ['the first of two', { 'cache-control': 'max-age=0, max-age=600' }, asked],
  ['max-age that passed on the way', { 'cache-control': 'max-age=600', age: '601' }, asked],
  ['max-age that passed since its Date', { 'cache-control': 'max-age=600', date: JANUARY }, asked],
  ['a Date that is still to come', { 'cache-control': 'max-age=600', date: soon() }, fresh],
  ['s-maxage, which is for shared caches', { 'cache-control': 's-maxage=600' }, asked],
  ['no-cache', { 'cache-control': 'max-age=600, no-cache' }, asked],
  ['no-cache with stale-while-revalidate', { 'cache-control': 'no-cache, stale-while-revalidate=600' }, asked],
  ['stale-while-revalidate', { 'cache-control': 'max-age=0, stale-while-revalidate=600' }, asked],
  ['Expires in the past', { expires: '0' }, asked],
  ['nothing but a validator', {}, asked],
  ['a modification long ago', { 'last-modified': 'Sat, 01 Nov 2003 10:00:00 GMT', date: new Date().toUTCString() }, asked],
  ['no-store', { 'cache-control': 'no-store, max-age=600' }, unknown],
  ['no-store, in other letters', { 'cache-control': 'No-Store' }, unknown],
  ['Vary: *', { vary: '*', 'cache-control': 'max-age=600' }, unknown],
]) {
  test.serial(`freshness: ${what}`, async (t) => {
    t.deepEqual(await twice(t, await server(t, { etag: '"e"', ...headers })), expected)
  })
}

test.serial('without validator: within max-age no request, after it the whole', async (t) => {
  t.deepEqual(await twice(t, await server(t, { 'cache-control': 'max-age=600' })), fresh)
  t.deepEqual(await twice(t, await server(t, { 'cache-control': 'max-age=600', age: '600' })), unknown)
})

test.serial('the time that a response was waited for counts', async (t) => {
  const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=1' }, async (request, site) => {
    await setTimeout(1500)
    return standard(request, site)
  })
  t.deepEqual(await twice(t, site), asked)
})

test.serial('a record that another version wrote is none', async (t) => {
  const site = await server(t, { 'cache-control': 'max-age=600' })
  await load(site.url)
  const options = readOptions({ minSize: 0 }, '').native
  const { hash, size, policy } = native.resourceRead(site.url.href, options)
  for (const change of [{ salt: undefined }, { policy: { v: 0 } }]) {
    const fetched = { url: site.url.href, policy: JSON.stringify({ ...JSON.parse(policy), ...change }) }
    await promisify((done) => native.resourceCompile(hash, { ...options, fetched }, done, size))()
    await flush()
    t.is(native.resourceRead(site.url.href, options).policy, fetched.policy)
    t.deepEqual((await sequence(t, site, site.url, site.url)).slice(0, 2), ['fetched', 'fresh'])
  }
})

test.serial('a fragment is no part of the address', async (t) => {
  const site = await server(t, { 'cache-control': 'max-age=600' })
  t.deepEqual(await sequence(t, site, site.url, new URL('#part', site.url)), fresh)
  const other = new URL('?query', site.url)
  t.deepEqual(await sequence(t, site, other), ['fetched', 200])
})

test.serial('a weak ETag, and a 304 that says no more than that', async (t) => {
  t.deepEqual(await twice(t, await server(t, { etag: 'W/"e"' })), asked)
  const site = await server(t, { etag: 'W/"e"' }, (request, site) => {
    const answered = standard(request, site)
    return answered.status === 304 ? { status: 304 } : answered
  })
  t.deepEqual(await twice(t, site), asked)
})

test.serial('a 304 about another representation is not believed', async (t) => {
  const site = await server(t, { etag: '"e"' }, (request, site) => {
    const answered = standard(request, site)
    return answered.status === 304 ? { status: 304, headers: { etag: '"other"' } } : answered
  })
  t.deepEqual(await twice(t, site), ['fetched', 'fetched', 200, 304, 200])
  const dated = await server(t, { 'last-modified': JUNE }, (request, site) => {
    const answered = standard(request, site)
    return answered.status === 304 ? { status: 304, headers: { 'last-modified': JANUARY } } : answered
  })
  t.deepEqual(await twice(t, dated), ['fetched', 'fetched', 200, 304, 200])
})

test.serial('the headers of a 304 replace those that were stored', async (t) => {
  const site = await server(t, { etag: '"e"', 'cache-control': 'no-cache' })
  await load(site.url)
  site.headers['cache-control'] = 'max-age=600'
  t.deepEqual(await twice(t, site), ['revalidated', 'fresh', 200, 304])
  const other = await server(t, { etag: '"e"', age: '100', 'cache-control': 'max-age=100' })
  await load(other.url)
  delete other.headers.age
  t.deepEqual(await twice(t, other), ['revalidated', 'fresh', 200, 304])
  const last = await server(t, { etag: '"e"' })
  await load(last.url)
  last.headers['cache-control'] = 'no-store'
  t.deepEqual(await twice(t, last), ['revalidated', 'fetched', 200, 304, 200])
})

test.serial('a response that must not be stored, or is gone, takes the record away', async (t) => {
  for (const change of [{ headers: { 'cache-control': 'no-store' } }, { status: 404 }]) {
    const site = await server(t, { etag: '"e"' })
    await load(site.url)
    const before = { headers: site.headers, status: 200 }
    Object.assign(site, change)
    await outcome(load(site.url))
    Object.assign(site, before)
    t.deepEqual(await sequence(t, site, site.url), ['fetched', 200, change.status ?? 200, 200])
  }
})

test.serial('any other answer leaves the record', async (t) => {
  for (const status of [204, 206, 401, 403, 429, 500]) {
    const site = await server(t, { etag: '"e"' })
    await load(site.url)
    site.status = status
    await outcome(load(site.url))
    site.status = 200
    t.deepEqual(await sequence(t, site, site.url), ['revalidated', 200, status, 304], `${status}`)
  }
})

test.serial('a response in the place of what is fresh takes the record away, although it is no module', async (t) => {
  for (const what of ['a wrong MIME type', 'a body that ends early', 'no module']) {
    const site = await server(t, { 'cache-control': 'max-age=600' }, (request, site) => {
      if (!site.failing) return standard(request, site)
      const { headers, ...failure } = failures[what](request, site)
      return { ...failure, headers: { ...headers, ...site.headers } }
    })
    await load(site.url)
    site.failing = true
    t.truthy((await outcome(load(new Request(site.url, { cache: 'reload' })))).error)
    site.failing = false
    t.deepEqual(await sequence(t, site, site.url), ['fetched', 200, 200, 200], what)
  }
})

test.serial('a request that may change what is there takes the record away, unless it fails', async (t) => {
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=600' })
    await load(site.url)
    site.status = 403
    await outcome(load(new Request(site.url, { method })))
    t.deepEqual(await sequence(t, site, site.url), ['fresh', 200, 403], method)
    site.status = 204
    await outcome(load(new Request(site.url, { method })))
    site.status = 200
    t.deepEqual(await sequence(t, site, site.url), ['fetched', 204, 200], method)
    await outcome(load(new Request(site.url, { method: 'OPTIONS' })))
    t.deepEqual(await sequence(t, site, site.url), ['fresh', 200], method)
  }
})

test.serial('when the server fails: stale-if-error, unless what is stale must be asked for', async (t) => {
  for (const [control, served, validator = { etag: '"e"' }] of [
    ['max-age=0, stale-if-error=600', true],
    ['max-age=0, stale-if-error=600', true, {}],
    ['max-age=0', false],
    ['max-age=0, stale-if-error=600, must-revalidate', false],
    ['no-cache, stale-if-error=600', false],
  ]) {
    const site = await server(t, { ...validator, 'cache-control': control })
    await load(site.url)
    for (const status of [503, 404]) {
      site.status = status
      const { value, error } = await outcome(load(site.url))
      if (served && status === 503) t.deepEqual(value, [site.number, 'stale'], control)
      else t.is(error?.code, 'ERR_WEBASSEMBLY_RESPONSE', `${control} ${status}`)
    }
    // The 404 has taken it away.
    site.status = 200
    await load(site.url)
    await site.stop()
    const { value, error } = await outcome(load(site.url))
    if (served) t.deepEqual(value, [site.number, 'stale'], control)
    else t.is(error?.message, 'fetch failed', control)
  }
})

// ── Requests ────────────────────────────────────────────────────────────────────────────────────────────────────────

test.serial('Vary: only a request with the same headers is answered', async (t) => {
  const site = await server(t, { vary: 'X-Kind, Accept-Encoding', 'cache-control': 'max-age=600' })
  const kind = (value) => new Request(site.url, { headers: { 'x-kind': value, 'x-other': `${Math.random()}` } })
  t.deepEqual(await sequence(t, site, kind('a'), kind('a'), kind('b'), kind('b'), site.url), [
    'fetched',
    'fresh',
    'fetched',
    'fresh',
    'fetched',
    200,
    200,
    200,
  ])
})

test.serial('other credentials are not served without asking', async (t) => {
  const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=600' })
  const as = (authorization) => new Request(site.url, { headers: { authorization } })
  const seen = await sequence(t, site, as('one'), as('one'), as('two'), as('two'), site.url, site.url)
  t.deepEqual(seen, ['fetched', 'fresh', 'revalidated', 'fresh', 'revalidated', 'fresh', 200, 304, 304])
})

/** A site that gives something else to who has credentials; its 304s are those of dates. */
async function twoUsers(t, dates) {
  const [plain, secret] = [next++, next++]
  const kinds = [
    { number: secret, body: await answer(secret), date: dates.secret },
    { number: plain, body: await answer(plain), date: dates.plain },
  ]
  const site = await origin(t, kinds[0].body, {}, ({ headers }) => {
    const { body, date } = kinds[headers.authorization === undefined ? 1 : 0]
    const since = Date.parse(headers['if-modified-since'])
    const sent = { ...WASM, 'last-modified': date, 'cache-control': 'max-age=600' }
    return since >= Date.parse(date) ? { status: 304, headers: sent } : { headers: sent, body }
  })
  return Object.assign(site, { plain, secret })
}

test.serial("a date does not make one user's module another's", async (t) => {
  for (const dates of [
    { plain: JANUARY, secret: JUNE },
    { plain: JUNE, secret: JUNE },
  ]) {
    const headers = { authorization: 'secret' }
    for (const first of [({ url }) => new Request(url, { headers }), ({ url }) => fetch(url, { headers })]) {
      const site = await twoUsers(t, dates)
      await compileStreaming(first(site), { minSize: 0 })
      await flush()
      t.deepEqual(await load(site.url), [site.plain, dates.plain === dates.secret ? 'fetched' : 'changed'])
      // Their own is fresh, and stays theirs.
      t.deepEqual(await load(site.url), [site.plain, 'fresh'])
      await compileStreaming(first(site), { minSize: 0 })
      await flush()
      t.is((await load(site.url))[0], site.plain)
    }
  }
})

test.serial("a Request's cache mode", async (t) => {
  const fresh = { etag: '"e"', 'cache-control': 'max-age=600' }
  const stale = { etag: '"e"', 'cache-control': 'max-age=0' }
  for (const [cache, headers, expected] of [
    ['default', stale, ['revalidated', 304]],
    ['force-cache', stale, ['fresh']],
    ['no-cache', fresh, ['revalidated', 304]],
    ['reload', fresh, ['fetched', 200]],
    ['no-store', fresh, ['fetched', 200]],
  ]) {
    const site = await server(t, headers)
    await load(site.url)
    t.deepEqual(await sequence(t, site, new Request(site.url, { cache })), [expected[0], 200, ...expected.slice(1)], cache)
  }
  const site = await server(t, fresh)
  t.deepEqual(await sequence(t, site, new Request(site.url, { cache: 'no-store' }), site.url), unknown)
  const other = await server(t, fresh)
  t.deepEqual(await sequence(t, other, new Request(other.url, { cache: 'reload' }), other.url), ['fetched', 'fresh', 200])
})

test.serial('only-if-cached: what is there, or what fetch() makes of it', async (t) => {
  const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=0' })
  const request = () => new Request(site.url, { cache: 'only-if-cached', mode: 'same-origin' })
  const [ours, theirs] = await Promise.all([outcome(load(request())), outcome(fetch(request()))])
  t.is(ours.error?.message, theirs.error?.message)
  await load(site.url)
  site.asked.length = 0
  t.deepEqual(await sequence(t, site, request()), ['fresh'])
})

test.serial(
  'requests that are not for the whole resource, or make conditions themselves, go to the server as they are',
  async (t) => {
    for (const init of [
      { method: 'POST', body: 'x', duplex: 'half' },
      { headers: { range: 'bytes=0-' } },
      { headers: { 'if-none-match': '"another"' } },
      { headers: { 'cache-control': 'no-store' } },
      { integrity: 'sha256-AAAA' },
    ]) {
      const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=600' })
      await load(site.url)
      await outcome(compileStreaming(new Request(site.url, init), { minSize: 0 }))
      await flush()
      t.deepEqual(
        site.asked.map(({ status }) => status),
        [200, 200],
        JSON.stringify(init)
      )
      const { headers, method } = site.asked[1]
      t.is(method, init.method ?? 'GET')
      for (const [name, value] of Object.entries(init.headers ?? {})) t.is(headers[name], value)
      t.is(headers['if-none-match'], init.headers?.['if-none-match'])
    }
    const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=600' })
    t.deepEqual(await sequence(t, site, new Request(site.url, { method: 'POST' }), site.url), unknown)
  }
)

test.serial("the request's own headers go with a condition, and its Cache-Control counts", async (t) => {
  const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=600' })
  await load(site.url)
  const request = (control) => new Request(site.url, { headers: { 'x-mine': 'yes', 'cache-control': control } })
  t.deepEqual(await sequence(t, site, request('no-cache'), request('max-age=600'), request('min-fresh=9999')), [
    'revalidated',
    'fresh',
    'revalidated',
    200,
    304,
    304,
  ])
  await load(request('no-cache'))
  t.like(site.asked[0].headers, { 'x-mine': 'yes', 'cache-control': 'no-cache', 'if-none-match': '"e"' })
  // What a client would put up with is not what it gets.
  const stale = await server(t, { etag: '"e"', 'cache-control': 'max-age=0' })
  const patient = () => new Request(stale.url, { headers: { 'cache-control': 'max-stale=600' } })
  t.deepEqual(await sequence(t, stale, patient(), patient()), asked)
})

// ── As if the program had called fetch() ────────────────────────────────────────────────────────────────────────────

const failures = {
  'status 404': () => ({ status: 404, headers: WASM }),
  'status 500': () => ({ status: 500, headers: WASM }),
  'a 304 that nobody asked for': () => ({ status: 304 }),
  'a wrong MIME type': (request, { body }) => ({ headers: { 'content-type': 'text/html' }, body }),
  'no MIME type': (request, { body }) => ({ body }),
  'redirections without end': () => ({ status: 302, headers: { location: '/module.wasm' } }),
  'a body that ends early': (request, { body }) => ({ headers: { ...WASM, 'content-length': body.length + 1 }, body, cut: true }),
  'no module': () => ({ headers: WASM, body: Buffer.from('no module at all') }),
}
for (const [what, respond] of Object.entries(failures)) {
  test.serial(`an error is that of fetch(): ${what}`, async (t) => {
    const site = await server(t, {}, respond)
    for (const source of [site.url, new Request(site.url)]) {
      const [ours, theirs] = [await outcome(compileStreaming(source)), await outcome(compileStreaming(fetch(site.url)))]
      t.truthy(theirs.error)
      for (const key of ['name', 'message', 'code']) t.is(ours.error?.[key], theirs.error[key], key)
      t.is(ours.error.cause?.code, theirs.error.cause?.code)
    }
  })
}

test.serial('an error is that of fetch(): nobody listens, a port that is forbidden, a password in the address', async (t) => {
  const site = await server(t, {})
  await site.stop()
  for (const address of [site.url, new URL('http://127.0.0.1:1/'), new URL('http://user:secret@127.0.0.1/')]) {
    const [ours, theirs] = [await outcome(compileStreaming(address)), await outcome(compileStreaming(fetch(address)))]
    t.true(ours.error instanceof TypeError)
    t.is(ours.error.message, theirs.error.message)
    t.is(ours.error.cause?.code, theirs.error.cause?.code)
  }
})

test.serial('the signal of a Request, and the option, end the request and the body', async (t) => {
  for (const how of ['request', 'option']) {
    for (const when of ['before', 'asked', 'half']) {
      const controller = new AbortController()
      const { signal } = controller
      const reason = new Error('enough')
      let [arrive, close] = []
      const arrived = new Promise((resolve) => (arrive = resolve))
      const closed = new Promise((resolve) => (close = resolve))
      const site = await server(t, {}, (request, site) => {
        request.socket.once('close', close)
        arrive()
        return when === 'asked' ? null : standard(request, site)
      })
      if (when === 'half') site.hold = () => closed
      if (when === 'before') controller.abort(reason)
      const source = how === 'request' ? new Request(site.url, { signal }) : site.url
      const ended = outcome(compileStreaming(source, how === 'option' ? { signal } : {}))
      if (when !== 'before') {
        await arrived
        controller.abort(reason)
        await closed
      }
      t.is((await ended).error, reason, `${how} ${when}`)
      if (when === 'before') t.is(site.asked.length, 0)
    }
  }
})

test.serial('a signal ends what needs no request, too', async (t) => {
  const site = await server(t, { 'cache-control': 'max-age=600' })
  await load(site.url)
  const signal = AbortSignal.abort(new Error('enough'))
  t.is((await outcome(compileStreaming(new Request(site.url, { signal })))).error, signal.reason)
  t.is((await outcome(compileStreaming(site.url, { signal }))).error, signal.reason)
})

test.serial("the program's own fetch is called, the one of the moment; what it makes up is not recorded", async (t) => {
  const site = await server(t, {})
  const real = globalThis.fetch
  t.teardown(() => (globalThis.fetch = real))
  const calls = []
  globalThis.fetch = async (source) => {
    calls.push(source)
    return new Response(site.body, { headers: { ...WASM, etag: '"e"', 'cache-control': 'max-age=600' } })
  }
  t.deepEqual(await twice(t, site), ['fetched', 'fetched'])
  t.deepEqual(calls, [site.url, site.url])
  delete globalThis.fetch
  t.true((await outcome(compileStreaming(site.url))).error instanceof TypeError)
})

test.serial('a Response that the program made is not recorded, and not one of a part', async (t) => {
  const site = await server(t, { etag: '"e"', 'cache-control': 'max-age=600' }, (request, site) => ({
    ...standard(request, site),
    ...(request.headers.range && { status: 206 }),
  }))
  const made = new Response(site.body, { headers: { ...WASM, etag: '"e"' } })
  Object.defineProperty(made, 'url', { value: site.url.href })
  await compileStreaming(made, { minSize: 0 })
  await compileStreaming(fetch(site.url, { headers: { range: 'bytes=0-' } }), { minSize: 0 })
  await flush()
  t.deepEqual((await twice(t, site)).slice(0, 2), ['fetched', 'fresh'])
})
