'use strict'

const { argon2id, createSHA256, sha256 } = require('hash-wasm')

test('many small modules run on the replacement', async () => {
  expect(typeof WebAssembly.Module.tier).toBe('function')
  const whole = await sha256('wasm')
  const parts = (await createSHA256()).init().update('wa').update('sm').digest()
  expect(parts).toBe(whole)
  expect(whole).toBe(require('node:crypto').createHash('sha256').update('wasm').digest('hex'))
})

test('a memory-hard one, too', async () => {
  const options = { password: 'pass', salt: new Uint8Array(16), parallelism: 1, iterations: 2, memorySize: 512, hashLength: 32 }
  expect(await argon2id(options)).toBe(await argon2id(options))
})
