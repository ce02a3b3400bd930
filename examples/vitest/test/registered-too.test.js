import { createHash } from 'node:crypto'
import { sha1 } from 'hash-wasm'
import { expect, test } from 'vitest'

test('so do small modules, in another file', async () => {
  expect(typeof WebAssembly.Module.tier).toBe('function')
  expect(await sha1('wasm')).toBe(createHash('sha1').update('wasm').digest('hex'))
})
