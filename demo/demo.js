'use strict'

// `npm run demo`, also on a fresh clone: esbuild as a WebAssembly module (14 MB), served over local HTTP, bundles a file
// in two fresh processes. The first finds nothing cached; the second finds what the first left behind.
//
//   npm run demo -- --rate 10     serves the module at 10 MB/s, as a network would; at full speed by default

const fs = require('node:fs')
const http = require('node:http')
const os = require('node:os')
const path = require('node:path')
const { createHash } = require('node:crypto')
const { run, seconds } = require('../scripts/run.js')
const prepare = require('../scripts/prepare.js')

const FINISHER_LIMIT = 10 * 60_000
const SLICE = 64 * 1024

const rateAt = process.argv.indexOf('--rate')
const rate = rateAt === -1 ? Infinity : Number(process.argv[rateAt + 1]) // MB/s

const say = (line = '') => console.log(line)
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Serves one module to whoever asks. */
function serve(bytes) {
  const server = http.createServer(async (request, response) => {
    response.writeHead(200, { 'content-type': 'application/wasm', 'content-length': bytes.length })
    const started = performance.now()
    for (let sent = 0; sent < bytes.length; sent += SLICE) {
      const due = started + sent / (rate * 1e3)
      if (due > performance.now() + 1) await sleep(due - performance.now())
      if (!response.write(bytes.subarray(sent, sent + SLICE))) {
        await new Promise((resolve) => response.once('drain', resolve))
      }
    }
    response.end()
  })
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve({ server, url: `http://127.0.0.1:${server.address().port}/esbuild.wasm` }))
  })
}

/** Every file below a directory. */
function filesIn(directory) {
  return fs
    .readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
}

/** Waits until the process that the cold run has left behind has stored the artifact. */
async function artifactIn(cache) {
  const started = Date.now()
  for (let told = 0; Date.now() - started < FINISHER_LIMIT;) {
    const artifact = fs.existsSync(cache) ? filesIn(cache).find((file) => file.endsWith('.cwasm')) : undefined
    if (artifact !== undefined) return { size: fs.statSync(artifact).size, ms: Date.now() - started }
    const whole = Math.floor((Date.now() - started) / 2_000)
    if (whole > told) {
      told = whole
      say(`  … the optimizing tier compiles in the background, ${seconds(Date.now() - started)}`)
    }
    await sleep(50)
  }
  throw new Error(`no artifact after ${seconds(FINISHER_LIMIT)}`)
}

const WORDS = {
  streamFromResponseCallback: () => 'all bytes have arrived',
  baselineReady: () => 'the baseline tier (Singlepass) is ready',
  compiledModule: () => 'the module can be run',
  optimizedReady: () => 'the optimizing tier has taken over in the running instance',
  cachedModule: () => 'the artifact is stored',
  moduleCacheHit: () => 'the artifact is mapped: nothing is compiled',
  moduleCacheInvalid: (event) => `the artifact was refused: ${event.reason}`,
  cacheWriteFailed: (event) => `the artifact could not be stored: ${event.reason}`,
  handedOff: (event) => `the process ends; process ${event.pid} finishes the optimizing tier's work`,
}

function describe({ what, event }) {
  if (event === undefined) return what
  const took = event.dur >= 0.05 ? `, ${event.dur.toFixed(1)} ms` : ''
  return `${(WORDS[event.name] ?? (() => ''))(event)}  [${event.name}${took}]`
}

async function main() {
  if (!(await prepare.packages()) || !(await prepare.addon())) {
    process.exitCode = 1
    return
  }
  const module = require.resolve('esbuild-wasm/esbuild.wasm')
  const entry = require.resolve('esbuild-wasm/lib/main.js')
  const bytes = fs.readFileSync(module)
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-demo-'))
  const cache = path.join(scratch, 'cache')
  const { server, url } = await serve(bytes)

  /** Runs demo/bundle.js in a fresh process, and says what it reported. */
  async function bundle(title, ...flags) {
    const outfile = path.join(scratch, 'bundle.js')
    fs.rmSync(outfile, { force: true })
    say(`\n${title}`)
    const env = { ...process.env, WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '1', WASM_DISABLE_COMPILE_CACHE: '' }
    const result = await run(
      title.split(':')[0],
      process.execPath,
      [path.join(__dirname, 'bundle.js'), url, entry, outfile, ...flags],
      { env, log: say }
    )
    if (!result.ok) throw new Error(`${title} failed: ${result.why}\n${result.output}`)
    const happened = JSON.parse(result.stdout.trim().split('\n').at(-1))
    for (const line of happened) say(`  ${line.at.toFixed(0).padStart(6)} ms  ${describe(line)}`)
    say(`  ${String(result.ms).padStart(6)} ms  the process has ended`)
    const digest = createHash('sha256').update(fs.readFileSync(outfile)).digest('hex')
    const events = new Set(happened.map(({ event }) => event?.name))
    return { total: result.ms, digest, events }
  }

  try {
    say(
      `\nesbuild.wasm (${megabytes(bytes.length)}) is served at ${url}${rate === Infinity ? '' : `, ${rate} MB/s`}. Each process fetches it, and bundles`
    )
    say(
      `esbuild-wasm's own lib/main.js (${(fs.statSync(entry).size / 1e3).toFixed(0)} kB). Times count from the start of the process.`
    )
    const builtin = await bundle('For comparison: the built-in WebAssembly', '--builtin')
    const cold = await bundle('Cold: the cache directory is empty')
    if (!cold.events.has('cachedModule')) {
      say('\nBetween the runs')
      const { size, ms } = await artifactIn(cache)
      say(`  the artifact (${megabytes(size)}) is stored ${seconds(ms)} after the cold process ended`)
    }
    const hot = await bundle('Hot: the same program again')

    say()
    say(`  built-in  ${builtin.total.toString().padStart(6)} ms`)
    say(`  cold      ${cold.total.toString().padStart(6)} ms   ${(builtin.total / cold.total).toFixed(1)} × the built-in's speed`)
    say(`  hot       ${hot.total.toString().padStart(6)} ms   ${(builtin.total / hot.total).toFixed(1)} × the built-in's speed`)
    const same = builtin.digest === cold.digest && cold.digest === hot.digest
    say(same ? '  The three bundles are the same, byte for byte.' : '  THE BUNDLES DIFFER.')
    if (!hot.events.has('moduleCacheHit')) say('  THE HOT RUN DID NOT FIND THE ARTIFACT.')
    if (!same || !hot.events.has('moduleCacheHit')) process.exitCode = 1
  } finally {
    server.close()
    fs.rmSync(scratch, { recursive: true, force: true })
  }
}

main().catch((error) => {
  console.error(error.message)
  process.exitCode = 1
})
