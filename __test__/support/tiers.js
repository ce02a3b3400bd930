'use strict'

// The modules of a test file in every way that code comes about: in the baseline tier, before and when it is called, in the
// optimizing tier, and out of an artifact that another process stored. With ENGINE=builtin there is one way only.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { W, assemble, ready } = require('./engine.js')

const onBuiltin = process.env.ENGINE === 'builtin'

const tiers = onBuiltin ? ['built-in'] : ['baseline', 'lazy', 'optimized', 'artifact']

// Reads modules from files, and ends when their artifacts are stored.
const PRIME = `
  const W = require(${JSON.stringify(path.join(__dirname, '..', '..'))})
  const { readFileSync } = require('node:fs')
  Promise.all(process.argv.slice(1).map((file) => W.Module.optimized(new W.Module(readFileSync(file), { minSize: 0 }))))`

/** `bytes` with a custom section that makes them another module to the cache and to the process. */
const named = (bytes, name) => Buffer.concat([bytes, Buffer.of(0, name.length + 1, name.length), Buffer.from(name)])

/**
 * @param {Record<string, string>} texts by name
 * @returns {Promise<Record<string, Record<string, WebAssembly.Module>>>} by tier and name
 */
async function compileInTiers(texts) {
  await ready
  const names = Object.keys(texts)
  const bytes = names.map((name) => assemble(texts[name]))
  const variants = (tier) => bytes.map((one) => named(one, tier))
  const modules = {}
  if (onBuiltin) {
    modules['built-in'] = bytes.map((one) => new W.Module(one))
  } else {
    for (const [tier, when] of [
      ['baseline', 'eager'],
      ['lazy', 'lazy'],
    ]) {
      modules[tier] = variants(tier).map((one) => new W.Module(one, { optimize: false, baseline: when, cache: false }))
    }
    modules.optimized = variants('optimized').map((one) => new W.Module(one, { cache: false }))
    await Promise.all(modules.optimized.map((module) => W.Module.optimized(module)))
    const directory = fs.mkdtempSync(path.join(process.env.WASM_COMPILE_CACHE, 'modules-'))
    const files = variants('artifact').map((one, index) => {
      const file = path.join(directory, `${index}.wasm`)
      fs.writeFileSync(file, one)
      return file
    })
    execFileSync(process.execPath, ['-e', PRIME, ...files])
    modules.artifact = files.map((file) => new W.Module(fs.readFileSync(file), { minSize: 0 }))
    for (const module of modules.artifact) {
      if (W.Module.tier(module) !== 'optimized') throw new Error('an artifact is missing')
    }
  }
  const byName = (list) => Object.fromEntries(list.map((module, index) => [names[index], module]))
  return Object.fromEntries(tiers.map((tier) => [tier, byName(modules[tier])]))
}

module.exports = { compileInTiers, tiers }
