'use strict'
// Where programs live: the Dockerfiles of examples/docker, built as they are written, but for `npm ci` (the packed tarballs are
// installed before), and Lambda's layout. What is built starts hot, with a root that is read-only and for a user without a name
// or a home.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const initial = require('ava')

const { npm } = require('../scripts/run.js')
const { keyPair } = require('./support/archives.js')
const { environment, folder } = require('./support/commands.js')
const { images } = require('./support/images.js')
const { install, succeed } = require('./support/installation.js')
const { linux } = require('./support/processes.js')
const { isStress } = require('./support/stress.js')
const { remove } = require('./support/remove.js')

const test = linux ? initial.serial : initial.serial.skip
initial('images are built on Linux', (t) => {
  if (!linux) t.log(`not on ${process.platform}`)
  t.is(linux, process.platform === 'linux')
})

const EXAMPLES = path.join(__dirname, '../examples')
const DISTROLESS = 'gcr.io/distroless/nodejs24-debian12:nonroot'
const LAMBDA = 'public.ecr.aws/lambda/nodejs:24'
const BASES = {
  'docker.io/library/node:24-slim': { hasShell: true },
  [DISTROLESS]: { hasShell: false, entrypoint: ['/usr/bin/node'], user: '65532:65532' },
  // There it has a user like this one.
  [LAMBDA]: { hasShell: false, user: '993:990' },
}

/** A project of the examples, installed. */
async function installed(t, name) {
  const home = folder(t)
  fs.cpSync(path.join(EXAMPLES, name), home, { recursive: true, filter: (file) => !file.endsWith('node_modules') })
  await install(home, folder(t), environment({ NAPI_RS_NATIVE_LIBRARY_PATH: undefined, NODE_ENV: undefined }))
  return home
}

const at = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-images-'))
initial.after.always(() => remove(at))

let made
initial.before(async (t) => {
  t.timeout(10 * 60 * 1000)
  if (linux) made = await images(at, BASES)
})

const USERS = { slim: 10001, ...(isStress ? { distroless: 65532 } : {}) }
for (const [name, user] of Object.entries(USERS)) {
  test(`docker, ${name}: what it builds starts hot`, async (t) => {
    t.timeout(10 * 60 * 1000)
    const { build, start } = made
    const context = await installed(t, 'docker')
    const text = fs.readFileSync(path.join(context, `${name}.Dockerfile`), 'utf8')
    const [installs] = text.match(/^RUN npm ci --omit=dev\n/m)
    const image = await build(context, text.replace(installs, ''))
    const right = `SQLite, user ${user}\n`
    t.is((await start(image)).output, right, 'it says nothing else')
    const { stdout, output } = await start(image, { NODE_DEBUG: 'wasm-compile-cache' })
    t.is(stdout, right)
    t.regex(output, /moduleCacheHit/)
    t.is((await start(image, { WASM_COMPILE_CACHE: undefined })).output, right, 'without a cache')
  })
}

/** What Lambda's own program does with a handler. */
const BOOTSTRAP = `
import { handler } from '/var/task/index.mjs'
for (const moons of [2, 200]) console.log(...(await handler({ moons })))`

test('lambda: a layer brings the code', async (t) => {
  t.timeout(10 * 60 * 1000)
  const home = await installed(t, 'lambda')
  const { privateKey, publicKey } = keyPair(home)
  fs.renameSync(privateKey, path.join(home, 'private.pem'))
  fs.renameSync(publicKey, path.join(home, 'public.pem'))
  const template = fs.readFileSync(path.join(home, 'template.yaml'), 'utf8')
  const [, variables] = /Variables:\n((?: {10}.*\n)+)/.exec(template)
  const env = Object.fromEntries([...variables.matchAll(/^ +([A-Z_]+): '?(.*?)'?$/gm)].map(([, name, value]) => [name, value]))
  const level = { WASM_COMPILE_CACHE_CPU: env.WASM_COMPILE_CACHE_CPU, WASM_COMPILE_CACHE: folder(t) }
  const [npmCommand, args] = npm(['run', '--silent', 'layer'])
  await succeed('layer', [npmCommand, args], { cwd: home, env: environment({ ...level, NAPI_RS_NATIVE_LIBRARY_PATH: undefined }) })
  fs.writeFileSync(path.join(home, 'bootstrap.mjs'), BOOTSTRAP)
  const layout = ['COPY layer /opt', 'COPY index.mjs package.json /var/task/', 'COPY node_modules /var/task/node_modules']
  const command = ['COPY bootstrap.mjs /var/runtime/', 'WORKDIR /var/task', 'CMD ["node", "/var/runtime/bootstrap.mjs"]']
  const image = await made.build(home, [`FROM ${LAMBDA}`, ...layout, ...command].join('\n'))
  const right = 'Mars Saturn\nSaturn\n'
  t.is((await made.start(image, env)).output, right)
  const { stdout, output } = await made.start(image, { ...env, NODE_DEBUG: 'wasm-compile-cache' })
  t.is(stdout, right)
  t.regex(output, /remoteHit/)
})
