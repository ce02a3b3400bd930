'use strict'

// Makes the packages of the permissive flavour out of those that are published: the same code under another name, whose addons are
// built without Singlepass. A project chooses it by an alias, so that everything goes on requiring wasm-compile-cache:
//
//   npm install wasm-compile-cache@npm:wasm-compile-cache-permissive
//
//   node scripts/permissive.js <folder>...    changes packages in place: unpacked tarballs, folders of npm/

const fs = require('node:fs')
const path = require('node:path')

const NAME = 'wasm-compile-cache'
const PERMISSIVE = `${NAME}-permissive`
const LICENCE = 'LICENSE-SINGLEPASS'
const CODE = 'MIT OR Apache-2.0'

/** A platform's package, by its name in the other flavour. */
const renamed = (name) => name.replace(new RegExp(`^${NAME}`), PERMISSIVE)

/** What loads the platform's package has to name this flavour's: both may be in one tree. */
function rename(folder) {
  const files = ['binding.js', ...fs.readdirSync(path.join(folder, 'dist')).map((file) => `dist/${file}`)]
  for (const file of files.map((name) => path.join(folder, name)).filter(fs.existsSync)) {
    const text = fs.readFileSync(file, 'utf8')
    // `wasm-compile-cache-${name}` in dist/, 'wasm-compile-cache-linux-x64-gnu' in binding.js.
    const platforms = new RegExp(`\\b${NAME}-(?=\\$\\{name\\}|(?:android|darwin|freebsd|linux|openharmony|win32|wasm32)-)`, 'g')
    fs.writeFileSync(file, text.replaceAll(platforms, `${PERMISSIVE}-`))
  }
}

function change(folder) {
  const file = path.join(folder, 'package.json')
  const manifest = JSON.parse(fs.readFileSync(file, 'utf8'))
  const isMain = manifest.name === NAME
  const platforms = Object.entries(manifest.optionalDependencies ?? {}).map(([name, version]) => [renamed(name), version])
  const changed = {
    ...manifest,
    name: renamed(manifest.name),
    description: `${manifest.description}; without Singlepass`,
    license: CODE,
    files: manifest.files.filter((name) => name !== LICENCE),
    ...(platforms.length > 0 ? { optionalDependencies: Object.fromEntries(platforms) } : {}),
  }
  fs.writeFileSync(file, `${JSON.stringify(changed, null, 2)}\n`)
  fs.rmSync(path.join(folder, LICENCE), { force: true })
  if (isMain) rename(folder)
  else fs.writeFileSync(path.join(folder, 'README.md'), readme(changed))
}

const readme = ({ name, description }) => `# ${name}

${description}. npm installs it by itself where it fits; nobody needs to name it. It contains nothing of Wasmer's Singlepass compiler.
`

module.exports = { PERMISSIVE, change, renamed }

if (require.main === module) process.argv.slice(2).forEach(change)
