'use strict'

const { open } = require('./open.js')
const { table } = require('./screen.js')

const COLORS = { imported: 'green', present: 'green', skipped: 'yellow' }

const row = (status, { hash, source, partition, reason = '' }, screen) => [
  screen[COLORS[status]](status),
  hash.slice(0, 12),
  [source || '(bytes)', partition && `partition ${partition}`].filter(Boolean).join(', '),
  reason,
]

function lines(report, screen) {
  const rows = Object.keys(COLORS).flatMap((status) => report[status].map((entry) => row(status, entry, screen)))
  return rows.length === 0 ? 'The archive has no entries.' : table(rows)
}

module.exports = {
  usage: 'import <archive>',
  summary: 'take the entries of an archive into the cache',
  help: `
Later runs execute the code in the archive, with all rights of the process. So name the public key of whoever made it.
With --trust no signature is checked: whoever can write the file can have any code executed.
Each entry is "imported", "present" (the same was there already) or "skipped" (made for another engine, version or CPU:
such modules are compiled as ever). Exit code 1 if the archive is damaged, or was not signed with that key.`,
  options: (command) =>
    command
      .option('--key <public key>', 'the PEM file of the Ed25519 key that the archive must be signed with')
      .option('--trust', 'accept any code in the archive, whoever made it')
      .hook('preAction', (called) => {
        const { key, trust } = called.opts()
        if (key === undefined && !trust) called.error('error: name the key that the archive is signed with (--key), or use --trust')
        if (key !== undefined && trust) called.error('error: use --key or --trust, not both')
      }),

  async run([archive], options, screen) {
    const { key, trust } = options
    const report = await open(options).import(archive, { key, trust })
    return { json: report, text: lines(report, screen) }
  },
}
