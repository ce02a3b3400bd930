'use strict'

const { formatSize } = require('../cache/quantities.js')
const { Failure } = require('./failure.js')
const { open } = require('./open.js')
const { addOptions, openRemote } = require('./remote.js')
const { table } = require('./screen.js')

const COLORS = { sent: 'green', present: 'green', failed: 'red' }

async function send(remote, { key, source }) {
  try {
    const bytes = await remote.put(key)
    return { key, source, status: bytes === 0 ? 'present' : 'sent', bytes }
  } catch ({ message }) {
    return { key, source, status: 'failed', reason: message }
  }
}

const row = ({ key, source, status, bytes, reason }, screen) => [
  screen[COLORS[status]](status),
  key.slice(0, 12),
  source || '(bytes)',
  reason ?? (bytes > 0 ? formatSize(bytes) : ''),
]

module.exports = {
  usage: 'push',
  summary: 'send what is cached to the remote cache',
  help: `
Of this version of the package, and of the level of processors that WASM_COMPILE_CACHE_CPU names, by default the highest
that this machine is of. Each artifact is "sent", "present" (it was there already) or "failed"; exit code 1 if one
failed.`,
  options: (command) => addOptions(command).option('--partition <name>', 'only what is stored for this partition'),

  async run(_args, options, screen) {
    const { settings, connect } = openRemote(options)
    if (!settings.writes) {
      throw new Failure(
        'name the private key that signs what is sent: --sign, or WASM_COMPILE_CACHE_REMOTE_SIGN',
        'ERR_WASM_REMOTE'
      )
    }
    const cache = open(options, { mode: 'read-only' })
    const { partition } = options
    const entries = cache
      .entries()
      .filter(
        (entry) => entry.current && entry.engine.engine !== 'v8' && (partition === undefined || entry.partition === partition)
      )
    const remote = connect()
    const outcomes = []
    for (const entry of entries) outcomes.push(await send(remote, entry))
    const text =
      outcomes.length === 0
        ? 'Nothing is cached that machines could share: `warm --remote` compiles it for a level of processors.'
        : table(outcomes.map((one) => row(one, screen)))
    return { code: outcomes.some(({ status }) => status === 'failed') ? 1 : 0, json: outcomes, text }
  },
}
