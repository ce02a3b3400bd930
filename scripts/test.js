'use strict'

// npm test: what has to hold before a change lands, from nothing: packages, npm run check, the build, Rust's tests, and
// JavaScript's on every supported Node. docs/development/testing.md says which test runs where, and why.
//
//   node scripts/test.js [--minutes <n>]    gives up (as a failure) when n minutes are over; 60 by default

const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { addonPath } = require('./build.js')
const { checks } = require('./check.js')
const prepare = require('./prepare.js')

const { ROOT, TARGET } = prepare
const BUILDS = {
  whole: { folder: path.join(ROOT, 'build', 'whole'), flags: [] },
  permissive: { folder: path.join(ROOT, 'build', 'without-singlepass'), flags: ['--no-default-features'] },
}

/**
 * What a version of V8 or Node can change: runs on the newest, too. Everything else runs on the Node that runs this, which is to
 * be the oldest.
 */
const EVERY_NODE = [
  'api/*',
  'conformance/*',
  'absence',
  'assumptions',
  'auto',
  'auto-judge',
  'auto-linking',
  'auto-memory',
  'beside',
  'contexts',
  'descriptors',
  'drop-in',
  'esm-wasm',
  'events',
  'fallback',
  'guard',
  'inspector',
  'interruption',
  'misuse-api',
  'nesting',
  'permission',
  'posting',
  'references',
  'resources-http',
  'signals',
  'small-modules',
  'sources',
  'stack',
  'start',
  'streaming',
  'units',
  'v8-code',
  'v8-code-failures',
]

/** Of that, what asks V8 and Node by their versions, or by what has no promise: runs on those between, too. */
const BETWEEN = [
  'conformance/*',
  'absence',
  'assumptions',
  'auto',
  'auto-judge',
  'contexts',
  'drop-in',
  'esm-wasm',
  'inspector',
  'interruption',
  'nesting',
  'permission',
  'signals',
  'stack',
  'start',
  'streaming',
  'v8-code',
  'v8-code-failures',
]

/** What needs the newest V8: it has the features of WebAssembly that older ones do not have. */
const NEWEST_NODE = ['difference']

/**
 * What waits for what does not answer, unpacks a system, or installs packages anew: npm run stress runs it, in its smallest share,
 * too.
 */
const STRESS_ONLY = ['flavours', 'images', 'plug-and-play', 'remote-fleet']

/** The engine's tests: the whole workspace is built every time, as a part may want other features of its dependencies. */
const ENGINE = ['--cargo-profile', 'checks', '--workspace', '-E', 'package(wasm-compile-cache-engine)']

const testFiles = (names) => names.map((name) => `__test__/${name}.test.js`)

/** Every file of tests but those of these names. */
const testFilesWithout = (names) =>
  fs
    .readdirSync(path.join(ROOT, '__test__'), { recursive: true })
    .map((name) => `__test__/${name}`)
    .filter((file) => file.endsWith('.test.js') && !file.includes('node_modules') && !testFiles(names).includes(file))

/** An addon for the tests: without link-time optimisation, which takes longer than it gives them. */
async function build(suite, { folder, flags }) {
  fs.mkdirSync(folder, { recursive: true })
  const script = path.join(__dirname, 'build.js')
  const args = [script, '--profile', 'checks', '--output-dir', folder, ...flags]
  const ok = await suite.check(`build${flags.map((flag) => ` ${flag}`).join('')}`, [process.execPath, args])
  return ok ? { NAPI_RS_NATIVE_LIBRARY_PATH: addonPath(folder) } : undefined
}

/** What `difference` generates its modules with: a test that builds it shows no progress. */
async function generator(suite) {
  const manifest = path.join(ROOT, '__test__', 'difference', 'modules', 'Cargo.toml')
  const args = ['build', '--release', '--locked', '--manifest-path', manifest, '--bin', 'generate']
  await suite.check('build of the generator of modules', ['cargo', args], { env: { CARGO_TARGET_DIR: TARGET } })
}

async function tests(suite, nextest) {
  // What the network gives comes while cargo compiles.
  const installed = async () => {
    suite.note('npm ci of the other Nodes', await prepare.nodes())
    suite.note('the servers of the tests', await prepare.servers())
  }
  await Promise.all([installed(), checks(suite, nextest)])
  // Each in the folder of its profile, which cargo locks.
  const [whole] = await Promise.all([build(suite, BUILDS.whole), generator(suite)])
  await suite.nextest("the engine's tests", nextest, ENGINE)

  const current = Number(process.versions.node.split('.')[0])
  const others = prepare.otherNodes().filter(({ major }) => major !== current)
  if (whole !== undefined) {
    await suite.ava(`Node ${process.versions.node}`, { files: testFilesWithout(STRESS_ONLY), env: whole })
    for (const { major, path: node } of others) {
      const files = testFiles(major === others.at(-1).major ? [...EVERY_NODE, ...NEWEST_NODE] : BETWEEN)
      await suite.ava(`Node ${major}`, { node, files, env: whole })
    }
    if (others.length === 0) console.log(`  there are no other Nodes for ${process.platform}-${process.arch} to test on`)
  }
}

module.exports = { BUILDS, ENGINE, EVERY_NODE, STRESS_ONLY, build, generator, testFiles, testFilesWithout }

if (require.main === module) {
  const { values } = parseArgs({ options: { minutes: { type: 'string', default: '60' } } })
  prepare.suite(Number(values.minutes), tests)
}
