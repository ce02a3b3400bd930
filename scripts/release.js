'use strict'

// Puts the packages of a release together, both flavours, looks into each, and publishes them: those of the platforms before the
// one that names them. It begins to publish when nothing is wrong with any.
//
//   node scripts/release.js <addons> <permissive> <repository> [--dry-run]
//
// `addons` and `permissive` are folders that have the addons of all platforms, somewhere in them; `repository` is the address of
// the repository, which npm shows, and which provenance is checked against.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { LICENCES, PLATFORMS, problemsOfMain, problemsOfPlatform } = require('./check-package.js')
const { change } = require('./permissive.js')
const { npm, step } = require('./run.js')

const ROOT = path.join(__dirname, '..')
const NAME = 'wasm-compile-cache'

async function succeed(title, [command, args], options) {
  const { ok, stdout } = await step(title, command, args, { log() {}, ...options })
  if (!ok) throw new Error(`${title} failed`)
  return stdout
}

function edit(directory, changed) {
  const file = path.join(directory, 'package.json')
  const manifest = JSON.parse(fs.readFileSync(file, 'utf8'))
  fs.writeFileSync(file, `${JSON.stringify({ ...manifest, ...changed(manifest) }, null, 2)}\n`)
}

/** The package itself, unpacked, with the platforms' packages pinned: no lock file could name them before they are published. */
async function main(into, platforms) {
  const packing = npm(['pack', '--json', '--ignore-scripts', '--pack-destination', into])
  const [{ filename }] = JSON.parse(await succeed('npm pack', packing, { cwd: ROOT }))
  await succeed('tar', ['tar', ['-xzf', path.join(into, filename), '-C', into]])
  const directory = path.join(into, 'package')
  const pinned = ({ version }) => Object.fromEntries(platforms.map((platform) => [`${NAME}-${platform}`, version]))
  edit(directory, (manifest) => ({ optionalDependencies: pinned(manifest) }))
  return directory
}

/** A platform's package. */
function platform(into, name, addons) {
  const directory = path.join(into, name)
  fs.cpSync(path.join(ROOT, 'npm', name), directory, { recursive: true })
  for (const file of addons.filter((file) => file.endsWith(`.${name}.node`))) {
    fs.copyFileSync(file, path.join(directory, path.basename(file)))
  }
  for (const licence of LICENCES) fs.copyFileSync(path.join(ROOT, licence), path.join(directory, licence))
  return directory
}

/**
 * The packages of a flavour, in folders below `into`.
 *
 * @param {string} into
 * @param {{addons: string[], platforms?: string[], isPermissive?: boolean, repository?: string}} settings `addons`: files
 * @returns {Promise<{main: string, platforms: {[name: string]: string}}>}
 */
async function stage(into, { addons, platforms = PLATFORMS, isPermissive = false, repository }) {
  const staged = Object.fromEntries(platforms.map((name) => [name, platform(into, name, addons)]))
  const directory = await main(into, platforms)
  for (const one of [...Object.values(staged), directory]) {
    if (isPermissive) change(one)
    if (repository === undefined) continue
    const url = `git+${repository}.git`
    edit(one, () => ({ repository: { type: 'git', url }, publishConfig: { access: 'public', provenance: true } }))
  }
  return { main: directory, platforms: staged }
}

const below = (folder) =>
  fs
    .readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.node'))
    .map((name) => path.join(folder, name))

async function release({ folders, repository, isDry, into }) {
  const all = []
  for (const [index, folder] of folders.entries()) {
    const isPermissive = index === 1
    const own = path.join(into, isPermissive ? 'permissive' : 'whole')
    fs.mkdirSync(own)
    const { main, platforms } = await stage(own, { addons: below(folder), isPermissive, repository })
    for (const [name, directory] of Object.entries(platforms)) {
      all.push({ directory, problems: problemsOfPlatform(directory, name, isPermissive) })
    }
    all.push({ directory: main, problems: problemsOfMain(main, isPermissive) })
  }
  const problems = all.flatMap(({ problems }) => problems)
  if (problems.length > 0) throw new Error(problems.join('\n'))
  for (const { directory } of all) {
    const { name, version } = JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'))
    // That npm would take it was seen already.
    if (isDry) console.log(`${name}@${version} would be published`)
    else await succeed(`${name}@${version}`, npm(['publish', '--ignore-scripts']), { cwd: directory, log: console.log })
  }
}

module.exports = { stage }

if (require.main === module) {
  const { positionals, values } = parseArgs({ allowPositionals: true, options: { 'dry-run': { type: 'boolean', default: false } } })
  const [addons, permissive, repository] = positionals
  const into = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-release-'))
  release({ folders: [addons, permissive], repository, isDry: values['dry-run'], into })
    .catch((error) => {
      console.error(error.message)
      process.exitCode = 1
    })
    .finally(() => fs.rmSync(into, { recursive: true, force: true }))
}
