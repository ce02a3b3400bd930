'use strict'
// The cache directories of the columns: a new one for each cold process, a filled one for the hot.

const { existsSync, mkdtempSync, readdirSync, rmSync } = require('node:fs')
const path = require('node:path')
const { run } = require('./measure.js')

// What is measured is this package's engine; ./auto.js measures the choice.
const ours = { WASM_COMPILE_CACHE_ENGINE: 'ours', WASM_COMPILE_CACHE_FINISH: '0' }
const off = { ...ours, WASM_DISABLE_COMPILE_CACHE: '1' }
/** The built-in engine for everything, and V8's code of it. */
const v8 = { WASM_COMPILE_CACHE_ENGINE: 'builtin', WASM_COMPILE_CACHE_FINISH: '0' }
const at = (directory) => ({ ...ours, WASM_COMPILE_CACHE: directory })

/** Compiles `files` and waits until their artifacts lie in `directory`; checks that they are found there. */
async function prime(directory, files) {
  const args = [path.join(__dirname, 'prime.js'), ...files]
  await run({ args, ours: true, env: at(directory) })
  const { output } = await run({ args, ours: true, env: at(directory) })
  if (!JSON.parse(output).every(Boolean)) throw new Error(`not hot after priming: ${files} → ${output}`)
}

/** As long as a large module may take. */
const PATIENCE = 900_000 // ms

/** Waits for what a cache's processes have left behind, and does nothing meanwhile: they wait for a quiet machine. */
async function settled(cache) {
  const until = performance.now() + PATIENCE
  const folder = path.join(cache, 'seen')
  while (existsSync(folder) && readdirSync(folder).length > 0 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

/** Has V8 compile what a process that is run with `args`, and with `env`, calls. */
async function primeV8(directory, args, env) {
  await run({ args, ours: true, env: { ...env, ...v8, WASM_COMPILE_CACHE: directory, WASM_COMPILE_CACHE_FINISH: 'now' } })
  await settled(directory)
}

/**
 * Runs `use(env)` with the environment of a column.
 * @param {'cold' | 'hot' | 'off' | 'v8' | undefined} ours
 */
async function withCache(ours, { directory, hot, code }, use) {
  if (ours === 'v8') return use({ ...v8, WASM_COMPILE_CACHE: code })
  if (ours === 'hot') return use(at(hot))
  if (ours === 'off') return use(off)
  if (ours === undefined) return use({ WASM_COMPILE_CACHE_FINISH: '0' })
  const fresh = mkdtempSync(path.join(directory, 'cold-'))
  try {
    return await use(at(fresh))
  } finally {
    rmSync(fresh, { recursive: true, force: true })
  }
}

module.exports = { prime, primeV8, settled, withCache }
