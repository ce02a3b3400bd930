'use strict'
// hash-wasm: every algorithm it has, one-shot and incremental, over fixed data. Its modules are all
// below the size from which the cache keeps them: what is tried here is many tiny modules at once.

const { run } = require('./loop.js')

run(async () => {
  const hashes = require('hash-wasm')
  const data = new Uint8Array(300_001)
  for (let i = 0, seed = 1; i < data.length; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    data[i] = seed >>> 24
  }
  const text = 'The quick brown fox jumps over the lazy dög'
  const salt = data.subarray(0, 16)
  const plain = [
    'adler32',
    'blake2b',
    'blake2s',
    'blake3',
    'crc32',
    'crc64',
    'keccak',
    'md4',
    'md5',
    'ripemd160',
    'sha1',
    'sha224',
    'sha256',
    'sha3',
    'sha384',
    'sha512',
    'sm3',
    'whirlpool',
    'xxhash128',
    'xxhash3',
    'xxhash32',
    'xxhash64',
  ]

  return async () => {
    const outputs = []
    for (const name of plain) {
      outputs.push(`${name} ${await hashes[name](text)} ${await hashes[name](data)}`)
    }
    for (const name of Object.keys(hashes)
      .filter((key) => key.startsWith('create') && key !== 'createHMAC')
      .sort()) {
      const hash = await hashes[name]()
      hash.init()
      for (let at = 0; at < data.length; at += 4093) hash.update(data.subarray(at, at + 4093))
      const saved = hash.save()
      const first = hash.digest('hex')
      hash.load(saved)
      outputs.push(`${name} ${first} ${hash.update(text).digest('hex')}`)
    }
    const hmac = await hashes.createHMAC(hashes.createSHA256(), 'key')
    outputs.push(hmac.init().update(data).digest('hex'))
    outputs.push(
      await hashes.pbkdf2({ password: 'secret', salt, iterations: 64, hashLength: 32, hashFunction: hashes.createSHA512() })
    )
    outputs.push(await hashes.scrypt({ password: 'secret', salt, costFactor: 256, blockSize: 8, parallelism: 2, hashLength: 32 }))
    outputs.push(await hashes.bcrypt({ password: 'secret', salt, costFactor: 5, outputType: 'encoded' }))
    for (const name of ['argon2i', 'argon2d', 'argon2id']) {
      outputs.push(
        await hashes[name]({
          password: 'secret',
          salt,
          parallelism: 2,
          iterations: 2,
          memorySize: 256,
          hashLength: 32,
          outputType: 'encoded',
        })
      )
    }
    return outputs
  }
})
