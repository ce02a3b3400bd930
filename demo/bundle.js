'use strict'

// One process of the demo: fetches esbuild's module, instantiates it while it arrives, and has it bundle a file.
//
//   node bundle.js <URL of esbuild.wasm> <entry> <outfile> [--builtin]
//
// Prints one line of JSON when it ends: what happened when, in milliseconds since the process started.

const fs = require('node:fs')
const { subscribe } = require('node:diagnostics_channel')

const [url, entry, outfile, engine] = process.argv.slice(2)
// In the place of globalThis.WebAssembly, because Go's glue checks for an instance of that one.
if (engine !== '--builtin') require('wasm-compile-cache').install()

const happened = []
const now = () => performance.now()
const note = (what, at = now()) => happened.push({ at, what })

note(engine === '--builtin' ? 'the program begins' : 'this package is loaded')

const EVENTS = [
  'streamFromResponseCallback',
  'baselineReady',
  'compiledModule',
  'optimizedReady',
  'cachedModule',
  'moduleCacheHit',
  'moduleCacheInvalid',
  'cacheWriteFailed',
  'handedOff',
]
for (const name of EVENTS) {
  subscribe(`wasm-compile-cache:${name}`, (event) => {
    if (event.source !== undefined && event.source !== url) return // Node's own fetch has a module too
    // An event may arrive later than it happened: from a background thread, while this one was busy.
    happened.push({ at: event.ts + (event.dur ?? 0) - performance.timeOrigin, event })
  })
}

// Registered after the package's own, so that it hears of the hand-over.
process.on('exit', () => {
  happened.sort((a, b) => a.at - b.at)
  fs.writeSync(1, `${JSON.stringify(happened)}\n`)
})

async function main() {
  // Go's glue as esbuild-wasm ships it, unmodified. It wants these where a browser's page has them.
  globalThis.fs = fs
  globalThis.path = require('node:path')
  globalThis.require = require
  require('esbuild-wasm/wasm_exec.js')
  const go = new globalThis.Go()
  go.argv = ['esbuild', entry, '--bundle', '--minify', '--platform=node', '--log-level=warning', `--outfile=${outfile}`]
  go.env = { TMPDIR: require('node:os').tmpdir() }
  go.exit = (code) => {
    note('esbuild has written the bundle')
    process.exit(code)
  }

  note('fetch() is called')
  const response = await fetch(url)
  note(`the server answers: ${response.status}, ${response.headers.get('content-type')}`)
  const { instance, module } = await WebAssembly.instantiateStreaming(response, go.importObject)
  note(`instantiateStreaming() resolves${engine === '--builtin' ? '' : `, tier: ${WebAssembly.Module.tier(module)}`}`)
  await go.run(instance)
}

main().catch((error) => {
  console.error(error)
  process.exitCode = 1
})
