'use strict'

// The keys that archives are signed with: Ed25519, in PEM files as `openssl genpkey -algorithm ed25519` makes them.
//
// Promise: no message holds anything of a key but the name of its file and its type; what OpenSSL says is not passed on.

const crypto = require('node:crypto')
const fs = require('node:fs')

const { ArchiveError } = require('./error.js')

const PASSPHRASE = 'WASM_ARCHIVE_PASSPHRASE'
const MAKE = 'openssl genpkey -algorithm ed25519 -out private.pem'

const refuse = (file, message) => new ArchiveError('KEY', `${file} ${message}`)

/** What the first PEM block of a file, which has but one, is said to be. */
function readPem(file, pem, wanted) {
  const labels = [...pem.matchAll(/^-----BEGIN ([A-Z0-9 ]+)-----/gm)].map(([, label]) => label)
  if (labels.length > 1) throw refuse(file, `holds more than one key: write the ${wanted} one into a file of its own`)
  return labels[0] ?? ''
}

function checkType(key, file) {
  const type = key.asymmetricKeyType
  if (type !== 'ed25519') throw refuse(file, `is a key for ${type}, but archives are signed with Ed25519: ${MAKE}`)
  return key
}

/** What `read` makes of the file; `advice` is for one that is damaged, or whose passphrase is another. */
function decode(read, file, advice) {
  let key
  try {
    key = read()
  } catch {
    throw refuse(file, `cannot be decoded: ${advice}`)
  }
  return checkType(key, file)
}

/** The private key in `file`, PKCS#8; `pem` is its text. */
function readPrivateKey(file, pem = fs.readFileSync(file, 'utf8')) {
  const label = readPem(file, pem, 'private')
  if (label === 'PUBLIC KEY') throw refuse(file, 'is a public key: an archive is signed with the private one')
  if (label === 'PRIVATE KEY') return decode(() => crypto.createPrivateKey(pem), file, `it is damaged. To make a new one: ${MAKE}`)
  if (label !== 'ENCRYPTED PRIVATE KEY') throw refuse(file, `is not a private key in PKCS#8 PEM form. To make one: ${MAKE}`)
  const passphrase = process.env[PASSPHRASE]
  if (!passphrase) throw refuse(file, `is encrypted: put its passphrase into the environment variable ${PASSPHRASE}`)
  return decode(() => crypto.createPrivateKey({ key: pem, passphrase }), file, `is the passphrase in ${PASSPHRASE} the right one?`)
}

/** The public key in `file`, SPKI; `pem` is its text. A private one is refused: an import does not need it. */
function readPublicKey(file, pem = fs.readFileSync(file, 'utf8')) {
  const label = readPem(file, pem, 'public')
  const derive = `openssl pkey -in ${/^(ENCRYPTED )?PRIVATE KEY$/.test(label) ? file : 'private.pem'} -pubout -out public.pem`
  if (label.endsWith('PRIVATE KEY')) {
    throw refuse(file, `is a private key, which should stay where archives are made. To derive the public one: ${derive}`)
  }
  if (label !== 'PUBLIC KEY') throw refuse(file, `is not a public key in PEM form. To derive it from the private one: ${derive}`)
  return decode(() => crypto.createPublicKey(pem), file, `it is damaged. To derive it again: ${derive}`)
}

// Ed25519 hashes by itself: no digest is named (RFC 8032, 5.1.6).
const sign = (bytes, key) => crypto.sign(null, bytes, key)
const verify = (bytes, key, signature) => crypto.verify(null, bytes, key, signature)

module.exports = { SIGNATURE_BYTES: 64, readPrivateKey, readPublicKey, sign, verify }
