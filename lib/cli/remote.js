'use strict'

// The remote cache of a command: as the environment names it, or as its options do.

const { Failure } = require('./failure.js')
const started = require('../process/started.js')

const collect = (value, before = []) => [...before, value]

/** Adds the options that name it. */
const addOptions = (command) =>
  command
    .option('--remote <address>', 'the cache that machines share (default: WASM_COMPILE_CACHE_REMOTE)')
    .option(
      '--key <public key>',
      'the PEM file of an Ed25519 key that artifacts may be signed with; more than once for several',
      collect
    )
    .option('--sign <private key>', 'the PEM file of the Ed25519 key that signs what is sent')
    .option('--trust', 'accept any code that is there, and send it unsigned')

/** What this process is to use; undefined where no remote is named. Before native code is loaded. */
function settingsFor({ remote: url, key: keys, sign, trust }) {
  const { environmentOf, givenBy, readChecked } = require('../remote/settings.js')
  const options = { url, keys, sign, trust }
  const named = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
  const given = { ...givenBy(started.environment), ...named }
  if (given.url === undefined) return undefined
  const settings = readChecked(given)
  Object.assign(started.environment, environmentOf(settings))
  return settings
}

/** The remote of a command that is of no use without. */
function openRemote(options) {
  const settings = settingsFor(options)
  if (settings === undefined) {
    throw new Failure('name the remote cache: --remote, or the variable WASM_COMPILE_CACHE_REMOTE', 'ERR_WASM_REMOTE')
  }
  const { Remote } = require('../remote/remote.js')
  const connect = () => new Remote(settings, require('../process/addon.js'), started.environment)
  return { settings, connect }
}

module.exports = { addOptions, openRemote, settingsFor }
