'use strict'
// node benches/remote.js: programs on a machine whose cache is empty, with a cache that machines share behind it. What it finds
// becomes `remote` of results.json; `node benches/report.js` then writes it into docs/remote.md.
//
// BENCH_ROUNDS=7       processes a column
// BENCH_OUTPUT=folder  where the results.json is that gets it (default: this folder)

const { spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { keyPair } = require('../__test__/support/archives.js')
const servers = require('../__test__/support/servers.js')
const prepare = require('../scripts/prepare.js')
const { machine } = require('./machine.js')
const { interleave, print } = require('./interleave.js')
const { environment } = require('./measure.js')
const { line } = require('./progress.js')

const OUTPUT = path.join(process.env.BENCH_OUTPUT ?? __dirname, 'results.json')
const ROUNDS = Number(process.env.BENCH_ROUNDS ?? 7)
const CLI = path.join(__dirname, '../dist/cli.js')
const ROWS = ['esbuild-cli', 'swc'].map((name) => require('./rows/index.js').find((row) => row.name === name))

/** What the tests' helpers want of a test: what is to be done at the end. */
function stage() {
  const ends = []
  return { teardown: (end) => ends.push(end), end: () => ends.reduceRight((before, end) => before.then(end), Promise.resolve()) }
}

/** The port of a line with the bandwidth and the way of another town. */
async function shaped(t, port) {
  const child = spawn(process.execPath, [path.join(__dirname, 'shape.js'), String(port)], { stdio: ['ignore', 'pipe', 'inherit'] })
  t.teardown(() => child.kill())
  const [text] = await once(child.stdout, 'data')
  return Number(text)
}

async function cli(args, env) {
  const child = spawn(process.execPath, [CLI, ...args], { env: environment(env), stdio: ['ignore', 'pipe', 'inherit'] })
  let stdout = ''
  child.stdout.on('data', (text) => (stdout += text))
  const [code] = await once(child, 'close')
  if (code !== 0) throw new Error(`${args}: ${code}\n${stdout}`)
  return stdout
}

async function measure(row, { keys, server, slow, directory }) {
  const level = { WASM_COMPILE_CACHE_CPU: 'x86-64-v3' }
  const base = { WASM_COMPILE_CACHE_ENGINE: 'ours', WASM_COMPILE_CACHE_FINISH: '0', ...level }
  const hot = path.join(directory, `${row.name}-hot`)
  const signed = ['--remote', server.url, '--sign', keys.privateKey]
  await cli(['warm', '--directory', hot, ...signed, ...row.modules()], level)
  const remote = (url) => ({ WASM_COMPILE_CACHE_REMOTE: url, WASM_COMPILE_CACHE_REMOTE_KEYS: keys.publicKey })
  const columns = {
    builtin: { label: 'built-in' },
    cold: { label: 'cold, no remote', env: base, isEmpty: true },
    hot: { label: 'hot', env: { ...base, WASM_COMPILE_CACHE: hot } },
    near: { label: 'empty, remote on this machine', env: { ...base, ...remote(server.url) }, isEmpty: true },
    far: { label: 'empty, remote at 10 MB/s, 50 ms', env: { ...base, ...remote(slow.url) }, isEmpty: true },
    dead: { label: 'empty, remote that is gone', env: { ...base, ...remote('http://127.0.0.1:1/') }, isEmpty: true },
  }
  return interleave(row, columns, { rounds: ROUNDS, directory })
}

async function main() {
  if (!(await prepare.servers(line))) throw new Error('the servers are not installed')
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-bench-'))
  const t = stage()
  try {
    const server = await servers.nginx(t)
    const slow = { url: server.url.replace(String(server.port), String(await shaped(t, server.port))) }
    const keys = keyPair(directory)
    const rows = []
    for (const row of ROWS) rows.push(await measure(row, { keys, server, slow, directory }))
    const found = JSON.parse(fs.readFileSync(OUTPUT, 'utf8'))
    const { date, commit } = machine()
    fs.writeFileSync(OUTPUT, `${JSON.stringify({ ...found, remote: { date, commit, rounds: ROUNDS, rows } }, null, 2)}\n`)
    print(rows)
  } finally {
    await t.end()
    fs.rmSync(directory, { recursive: true, force: true })
  }
}

main()
