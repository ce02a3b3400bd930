'use strict'

// Makes dist/ of lib/: what ships, and what a checkout runs. Few files start faster than many, and a vm context takes a
// copy of all of it by evaluating one. Lines stay what they are, without those that are comments; what is said at the end of
// a line may mean something to Node.
//
//   node scripts/bundle.js

const fs = require('node:fs')
const path = require('node:path')

const ROOT = path.join(__dirname, '..')
const LIB = path.join(ROOT, 'lib')
const DIST = path.join(ROOT, 'dist')

const { version } = require('../package.json')
const licences = require('../THIRD-PARTY.json')

const filesOf = (folder) => fs.readdirSync(path.join(LIB, folder)).map((name) => `${folder}/${name}`)

/**
 * The files of dist/: `has` what of lib/ is in it, beside what that requires and is in none before it; `start` what it does
 * when it is loaded.
 */
const BUNDLES = [
  {
    name: 'hooks.js',
    has: ['process/hooks.js', 'process/vm.js', 'process/threads.js'],
    isClosed: true,
    start: "module.exports = { ...fromLib('process/hooks.js'), load: fromLib }",
  },
  {
    name: 'archive.js',
    has: ['cache/archive.js', ...filesOf('cache/archive')],
    isClosed: true,
    start: 'module.exports = { load: fromLib }',
  },
  { name: 'resources.js', has: ['compile/resources.js'], isClosed: true, start: 'module.exports = { load: fromLib }' },
  { name: 'contexts.js', has: ['process/contexts.js'], isClosed: true, start: 'module.exports = { load: fromLib }' },
  {
    name: 'front.js',
    has: [
      'front/leaving.js',
      'front/namespace.js',
      'front/ours.js',
      'front/state.js',
      'api/dictionary.js',
      'api/sections.js',
      'process/kept.js',
      'process/realms.js',
    ],
    isClosed: true,
    isOfRealm: true,
    start: 'module.exports = { load: fromLib, loaded }',
  },
  { name: 'streams.js', has: ['front/streams.js'], isClosed: true, isOfRealm: true, start: 'module.exports = { load: fromLib }' },
  {
    name: 'choice.js',
    has: [
      ...['folder', 'memory', 'run', 'sample', 'tell', 'verdicts'].map((file) => `front/${file}.js`),
      ...['addons', 'permission', 'started', 'thread'].map((file) => `process/${file}.js`),
      'code/host.js',
    ],
    isClosed: true,
    start: 'module.exports = { load: fromLib }',
  },
  {
    name: 'native.js',
    has: ['process/addon.js', 'cache/environment.js', 'cache/quantities.js', 'front/trial.js'],
    isClosed: true,
    start: 'module.exports = { load: fromLib }',
  },
  {
    name: 'remote.js',
    has: ['away', 'direct', 'frames', 'object', 'remote', 'settings', 'start', 'storage'].map((file) => `remote/${file}.js`),
    isClosed: true,
    start: 'module.exports = { load: fromLib }',
  },
  {
    name: 'remote-service.js',
    has: ['claims', 'service'].map((file) => `remote/${file}.js`),
    isClosed: true,
    start: "fromLib('remote/service.js')",
  },
  { name: 'remote-opendal.js', has: ['remote/opendal.js'], isClosed: true, start: "fromLib('remote/opendal.js')" },
  { name: 'code.js', has: ['code/revive.js'], isClosed: true, start: 'module.exports = { load: fromLib }' },
  {
    name: 'judging.js',
    has: [
      'front/seen.js',
      'front/nearby.js',
      'code/calls.js',
      ...['detached', 'judging', 'orphans'].map((file) => `process/${file}.js`),
    ],
    isClosed: true,
    start: 'module.exports = { load: fromLib }',
  },
  {
    name: 'front-contexts.js',
    has: ['front/contexts.js', 'process/enter.js', 'process/evaluate.js'],
    isClosed: true,
    start: 'module.exports = { load: fromLib }',
  },
  {
    name: 'engine.js',
    has: ['api.js', 'api/drop-in.js', 'process/grounds.js'],
    isOfRealm: true,
    start: 'module.exports = { load: fromLib, loaded }',
  },
  { name: 'finish.js', has: ['process/finish.js'], start: "fromLib('process/finish.js')" },
  { name: 'compile-v8.js', has: ['process/compile-v8.js'], start: "fromLib('process/compile-v8.js')" },
  { name: 'judge.js', has: ['process/judge.js'], start: "fromLib('process/judge.js')" },
  { name: 'probe.js', has: ['cli/probe.js'], start: "fromLib('cli/probe.js')" },
  { name: 'cli.js', has: ['cli/main.js'], start: "fromLib('cli/main.js')", first: '#!/usr/bin/env node' },
]

/** Files that are in each bundle that a realm has a copy of. */
const OF_REALM = ['process/realm.js']

/** A file that there is in a bundle alone: where each of the others begins. */
const PLACES = 'places.js'

const REQUIRE = /\brequire\('(\.[^']*)'\)/g

/** What a file requires of lib/, by its path there. */
const requiredBy = (name, text) =>
  [...text.matchAll(REQUIRE)]
    .map(([, request]) => path.posix.join(path.posix.dirname(name), request))
    .filter((file) => !file.startsWith('../'))

/** File of lib/ -> {text, bundle}. */
function distribute() {
  const files = new Map()
  for (const { name: bundle, has, isClosed } of BUNDLES) {
    const visit = (name) => {
      if (files.has(name) || name === PLACES || OF_REALM.includes(name)) return
      const text = fs.readFileSync(path.join(LIB, name), 'utf8')
      files.set(name, { text, bundle })
      if (!isClosed) requiredBy(name, text).forEach(visit)
    }
    has.forEach(visit)
  }
  return files
}

/** A file's text with its requests as its bundle knows them. What is outside of lib/ is beside lib/ and dist/. */
function located(name, { text, bundle }, files) {
  return text.replace(REQUIRE, (_, request) => {
    const file = path.posix.join(path.posix.dirname(name), request)
    // What does not change is not read when a program starts.
    if (file === '../package.json') return `(${JSON.stringify({ version })})`
    if (file === '../THIRD-PARTY.json') return `(${JSON.stringify(licences)})`
    if (file.startsWith('../')) return `require('${file}')`
    const other = file === PLACES || OF_REALM.includes(file) ? bundle : files.get(file).bundle
    return other === bundle ? `fromLib('${file}')` : `require('./${other}').load('${file}')`
  })
}

/** Without lines of comments. */
function withoutComments(text) {
  let isComment = false
  return text.split('\n').map((line) => {
    if (/^\s*\/\*/.test(line)) isComment = true
    const shown = isComment || /^\s*\/\//.test(line) ? '' : line
    if (/\*\/\s*$/.test(line)) isComment = false
    return shown
  })
}

const LOADER = `const loaded = new Map([['${PLACES}', places]])
const fromLib = (name) => {
  if (!loaded.has(name)) {
    const own = { exports: {} }
    loaded.set(name, own.exports)
    try {
      files[name](own)
      loaded.set(name, own.exports)
    } catch (error) {
      loaded.delete(name)
      throw error
    }
  }
  return loaded.get(name)
}`

function textOf({ name: bundle, start, first, isOfRealm }, files) {
  const lines = [
    ...(first === undefined ? [] : [first]),
    "'use strict'",
    '// Made of lib/ by scripts/bundle.js.',
    'const files = {',
  ]
  const places = []
  const copied = isOfRealm ? OF_REALM.map((name) => [name, { text: fs.readFileSync(path.join(LIB, name), 'utf8'), bundle }]) : []
  for (const [name, file] of [...copied, ...files]) {
    if (file.bundle !== bundle) continue
    // In parentheses V8 compiles it with the whole, and does not read it twice.
    lines.push(`'${name}': (function (module) {`)
    places.push([lines.length + 1, name])
    lines.push(
      ...withoutComments(
        located(name, file, files)
          .replace(/^(#!.*\n)?'use strict'\n/, '')
          .trimEnd()
      ),
      '}),'
    )
  }
  return [...lines, '}', `const places = ${JSON.stringify(places)}`, LOADER, start, ''].join('\n')
}

/** Writes what has changed. */
function build() {
  const files = distribute()
  fs.mkdirSync(DIST, { recursive: true })
  for (const bundle of BUNDLES) {
    const file = path.join(DIST, bundle.name)
    const text = textOf(bundle, files)
    if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) continue
    // Aside and renamed: another process may be reading it.
    const aside = `${file}.${process.pid}`
    fs.writeFileSync(aside, text, { mode: bundle.first === undefined ? 0o644 : 0o755 })
    fs.renameSync(aside, file)
  }
}

module.exports = { BUNDLES, build }

if (require.main === module) build()
