'use strict'
// Code for a level of processors (WASM_COMPILE_CACHE_CPU), which unlike machines can share.

const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')
const { cli, cliJson } = require('./support/cli.js')
const { folder } = require('./support/commands.js')
const native = require('../binding.js')

const DECODER = path.join(path.dirname(require.resolve('@jsquash/webp')), 'codec/dec/webp_dec.wasm')
const at = (level) => ({ WASM_COMPILE_CACHE_CPU: level })
const artifacts = (cache) => fs.readdirSync(cache, { recursive: true }).filter((name) => name.endsWith('.cwasm'))

if (process.arch === 'x64' && /avx2/.test(native.engineFingerprint().cpu)) {
  test('code of a level is found by whoever asks for the level, and by nobody else', async (t) => {
    const cache = path.join(folder(t), 'cache')
    const explain = (level, code) => cliJson(['explain', DECODER], { cache, env: at(level), code })
    await cliJson(['warm', DECODER], { cache, env: at('x86-64-v2') })
    t.is((await explain('x86-64-v2', 0)).outcome, 'hit')
    for (const level of ['native', 'x86-64-v3']) {
      const { outcome, near } = await explain(level, 1)
      t.is(outcome, 'miss')
      for (const { differs } of near) {
        t.deepEqual(
          differs.map(({ field }) => field),
          ['cpu']
        )
      }
      await cliJson(['warm', DECODER], { cache, env: at(level) })
      t.is((await explain(level, 0)).outcome, 'hit')
    }
    t.is(artifacts(cache).length, 3)
  })
}

test('a level that there is not is told, and code is made for the machine', async (t) => {
  const cache = path.join(folder(t), 'cache')
  const { code, stderr } = await cli(['warm', DECODER], { cache, env: at('x86-64-v1') })
  t.is(code, 0)
  t.regex(stderr, /ERR_WASM_CPU.*x86-64-v1 is none of native, x86-64-v2, x86-64-v3/)
  t.is((await cliJson(['explain', DECODER], { cache })).outcome, 'hit')
  t.is(artifacts(cache).length, 1)
})
