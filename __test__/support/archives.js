'use strict'
// Archives of the cache taken apart and put together again, other than the package would.

const crypto = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const tar = require('tar-stream')

const digest = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex')

/** The members of an archive: {name, bytes}. */
async function unpack(file) {
  const members = []
  for await (const member of fs.createReadStream(file).pipe(tar.extract())) {
    const chunks = []
    for await (const chunk of member) chunks.push(chunk)
    members.push({ name: member.header.name, bytes: Buffer.concat(chunks) })
  }
  return members
}

/** Writes members into an archive; what else they have is for their headers. Its path. */
async function pack(file, members) {
  const packed = tar.pack()
  for (const { bytes, ...header } of members) {
    if (bytes === undefined) packed.entry({ mode: 0o644, ...header })
    else packed.entry({ type: 'file', mode: 0o644, mtime: new Date(0), ...header }, bytes)
  }
  packed.finalize()
  const chunks = []
  for await (const chunk of packed) chunks.push(chunk)
  fs.writeFileSync(file, Buffer.concat(chunks))
  return file
}

/** Two PEM files with a new key pair in `folder`: {privateKey, publicKey}, their paths. */
function keyPair(folder, type = 'ed25519', options = {}) {
  const pair = crypto.generateKeyPairSync(type, options)
  const write = (name, key, form) => {
    const file = path.join(folder, `${type}-${crypto.randomUUID()}-${name}.pem`)
    fs.writeFileSync(file, key.export({ format: 'pem', ...form }))
    return file
  }
  return {
    privateKey: write('private', pair.privateKey, { type: 'pkcs8' }),
    publicKey: write('public', pair.publicKey, { type: 'spki' }),
    encrypted: (passphrase) => write('encrypted', pair.privateKey, { type: 'pkcs8', cipher: 'aes-256-cbc', passphrase }),
  }
}

/**
 * The archive `file` with another manifest, signed as is right: `change` gets the manifest and the other members (by
 * name), and changes them in place or returns another manifest (bytes are taken as they are).
 */
async function forge(file, to, privateKey, change) {
  const [manifest, , ...rest] = await unpack(file)
  const parsed = JSON.parse(manifest.bytes)
  const parts = Object.fromEntries(rest.map(({ name, bytes }) => [name, bytes]))
  const changed = change(parsed, parts) ?? parsed
  const bytes = Buffer.isBuffer(changed) ? changed : Buffer.from(JSON.stringify(changed))
  const signature = crypto.sign(null, bytes, fs.readFileSync(privateKey))
  const members = [
    { name: 'manifest.json', bytes },
    { name: 'manifest.sig', bytes: signature },
    ...Object.entries(parts).map(([name, content]) => ({ name, bytes: content })),
  ]
  return pack(to, members)
}

module.exports = { digest, forge, keyPair, pack, unpack }
