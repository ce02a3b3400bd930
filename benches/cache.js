'use strict'
// The cache directories of the columns: a new one for each cold process, a filled one for the hot.

const { mkdtempSync, rmSync } = require('node:fs')
const path = require('node:path')
const { run } = require('./measure.js')

// What is measured is this package's engine; ./auto.js measures the choice.
const ours = { WASM_COMPILE_CACHE_ENGINE: 'ours', WASM_COMPILE_CACHE_FINISH: '0' }
const off = { ...ours, WASM_DISABLE_COMPILE_CACHE: '1' }
const at = (directory) => ({ ...ours, WASM_COMPILE_CACHE: directory })

/** Compiles `files` and waits until their artifacts lie in `directory`; checks that they are found there. */
async function prime(directory, files) {
  const args = [path.join(__dirname, 'prime.js'), ...files]
  await run({ args, ours: true, env: at(directory) })
  const { output } = await run({ args, ours: true, env: at(directory) })
  if (!JSON.parse(output).every(Boolean)) throw new Error(`not hot after priming: ${files} → ${output}`)
}

/**
 * Runs `use(env)` with the environment of a column.
 * @param {'cold' | 'hot' | 'off' | undefined} ours
 */
async function withCache(ours, { directory, hot }, use) {
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

module.exports = { prime, withCache }
