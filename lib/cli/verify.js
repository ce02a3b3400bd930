'use strict'

const { open } = require('./open.js')

module.exports = {
  usage: 'verify',
  summary: 'read every entry, and quarantine damaged ones',
  help: 'Exit code 1 if there was one. Its module is compiled anew when it is needed.',

  async run(_args, options, { red }) {
    const report = await open(options).verify()
    const { verified, quarantined } = report
    const text = [
      ...quarantined.map(({ path, reason }) => `${red('quarantined')} ${path} (${reason})`),
      `${verified} verified, ${quarantined.length} quarantined`,
    ].join('\n')
    return { code: quarantined.length === 0 ? 0 : 1, json: report, text }
  },
}
