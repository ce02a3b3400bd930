'use strict'
// A WASI command, run by node:wasi: ripgrep, as its package has it. Arguments, an environment variable
// (its configuration file), a folder preopened under another name, what it writes to stdout and stderr,
// and its exit codes. Each command line is an instance of its own.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { run } = require('./loop.js')

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ripgrep-'))

run(
  async () => {
    process.env.TMPDIR = folder // it unpacks its module there
    const { ripgrep } = await import('ripgrep')
    const source = path.join(folder, 'source')
    fs.cpSync(path.join(path.dirname(require.resolve('hash-wasm/package.json')), 'lib'), source, { recursive: true })
    fs.writeFileSync(path.join(source, 'words.txt'), 'Straße\nSTRASSE\nstraße und Strasse\n'.repeat(50))
    fs.writeFileSync(path.join(source, 'binary'), Buffer.from([0, 1, 2, 0x66, 0x6e, 0xff]))
    fs.writeFileSync(path.join(source, 'ripgreprc'), '--sort=path\n--heading\n--line-number\n')
    fs.symlinkSync('nowhere', path.join(source, 'broken'))

    let files = 0
    async function command(...args) {
      // Files and not pipes: node:wasi takes descriptors. (Paths in arguments would be preopened, too.)
      const names = ['out', 'err'].map((name) => path.join(folder, `${name}-${files++}`))
      const [stdout, stderr] = names.map((name) => ({ fd: fs.openSync(name, 'w') }))
      const preopens = { '/source': source, '.': source }
      const { code } = await ripgrep(args, { stdout, stderr, preopens, env: { RIPGREP_CONFIG_PATH: '/source/ripgreprc' } })
      for (const { fd } of [stdout, stderr]) fs.closeSync(fd)
      const written = names.map((name) => fs.readFileSync(name, 'latin1').replace(/"elapsed\w*":\{.*?\}/g, ''))
      for (const name of names) fs.rmSync(name)
      return [...written, String(code)]
    }

    return async () => [
      ...(await command('--regexp=(?i)function\\s+(\\w*hash\\w*)\\s*\\(', '--replace=<$1>', '--only-matching')),
      ...(await command('--regexp=export', '--count', '--glob=!*.d.ts')),
      ...(await command('--regexp=(?P<word>\\b\\p{Lu}\\w{5,})', '--json', '--max-count=3', '--type=ts')),
      ...(await command('--regexp=stra(ss|ß)e', '--ignore-case', '--context=1', '--color=always', '--max-columns=40')),
      ...(await command('--files', '--follow', '--hidden')),
      ...(await command('--regexp=fn', '--text', '--byte-offset', '--no-config', '--sort=path')),
      ...(await command('--regexp=nowhere to be found')),
      ...(await command('--regexp=(unclosed')),
      ...(await command('--version')),
    ]
  },
  () => fs.rmSync(folder, { recursive: true, force: true })
)
