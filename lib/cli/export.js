'use strict'

const { formatSize } = require('../cache/quantities.js')
const { open } = require('./open.js')

module.exports = {
  usage: 'export <archive>',
  summary: 'write entries into an archive, to ship them',
  help: `
For container images and CI jobs: import takes the archive into another cache. It is a tar of the entries of this version
of the package. Sign it, so that import need not trust whoever can write the file:
  openssl genpkey -algorithm ed25519 -out private.pem
  openssl pkey -in private.pem -pubout -out public.pem
The passphrase of an encrypted key is taken from the environment variable WASM_ARCHIVE_PASSPHRASE.
Damaged entries are left out, and named on stderr. Exit code 1 if there is nothing to export.`,
  options: (command) =>
    command
      .option('--sign <private key>', 'the PEM file of the Ed25519 key that signs the archive')
      .option('--partition <name>', 'only what is stored for this partition'),

  async run([archive], options, { dim, error }) {
    const { sign, partition } = options
    const exported = await open(options, { mode: 'read-only' }).export(archive, { sign, partition })
    const { file, bytes, entries, omitted } = exported
    for (const { path } of omitted) process.stderr.write(`${error.yellow('left out:')} ${path} is damaged\n`)
    if (omitted.length > 0) process.stderr.write(`${error.dim('wasm-compile-cache verify quarantines damaged entries')}\n`)
    const signed = exported.signed ? 'signed' : dim('not signed')
    const count = entries.length === 1 ? '1 entry' : `${entries.length} entries`
    return { json: exported, text: `${count} exported, ${formatSize(bytes)}, ${signed}: ${file}` }
  },
}
