'use strict'
// A server of modules that counts what it is asked for and what it gives.

const { once } = require('node:events')
const http = require('node:http')

const WASM = { 'content-type': 'application/wasm' }

/**
 * Starts a server; it ends with the test.
 *
 * @param {object} t
 * @param {(request: object, site: object) => object | null | Promise<object>} respond `{status, headers, body, cut}` for a request (`cut`:
 *   the connection is, after the body), null for no answer; by default what `site` says: its `body` with its `headers`
 *   (`etag` and `last-modified` among them make it answer 304), or `status`
 * @returns {Promise<object>} `site`: `url` (a URL object of a module), and what was `asked`: of each request its method,
 *   path and headers, the status it got and how many bytes. `stop()` and `start()` it as you like. The second half of a
 *   body waits for `hold()`, where there is such a function; its clock is `later` milliseconds ahead.
 */
async function origin(t, body, headers = {}, respond = standard) {
  const site = { body, headers, status: 200, asked: [] }
  const server = http.createServer(async (request, reply) => {
    const answered = await respond(request, site)
    if (answered === null) return
    const { status = 200, headers = {}, body = '', cut = false } = answered
    site.asked.push({ method: request.method, path: request.url, headers: request.headers, status, bytes: body.length })
    if (site.later) reply.setHeader('date', new Date(Date.now() + site.later).toUTCString())
    reply.writeHead(status, headers)
    const half = body.length >> 1
    if (site.hold) {
      reply.write(body.subarray(0, half))
      await site.hold()
    }
    if (cut) reply.write(body, () => request.socket.destroy())
    else reply.end(site.hold ? body.subarray(half) : body)
  })
  site.start = async (port = site.port ?? 0) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
    site.port = server.address().port
  }
  site.stop = async () => {
    if (!server.listening) return
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  await site.start()
  t.teardown(site.stop)
  site.at = (path) => new URL(path, `http://127.0.0.1:${site.port}/`)
  site.url = site.at('module.wasm')
  return site
}

function standard(request, { body, headers, status }) {
  const { etag } = headers
  const since = headers['last-modified']
  const isKnown =
    etag === undefined
      ? since !== undefined && request.headers['if-modified-since'] === since
      : request.headers['if-none-match']?.split(', ').includes(etag)
  if (status === 200 && isKnown) return { status: 304, headers }
  return { status, headers: { ...WASM, ...headers }, body: status === 200 ? body : 'no module' }
}

module.exports = { WASM, origin, standard }
