'use strict'

// Everything that CI checks, from nothing: packages, format, lints, types, both builds, Rust's tests, and the JavaScript
// tests on every supported Node. Each check runs even if one before it failed, unless it has nothing to run on. The last
// line is `N passed, N failed`: the tests of cargo and ava added up, and one failure for each other check that failed.
//
//   node scripts/ready.js [--minutes <n>]    gives up (as a failure) when n minutes are over; 85 by default

const fs = require('node:fs')
const path = require('node:path')
const { step, seconds } = require('./run.js')
const prepare = require('./prepare.js')
const { addonPath } = require('./build.js')

const { ROOT } = prepare
const AVA = path.join(ROOT, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')
const ESLINT = path.join(ROOT, 'node_modules', 'eslint', 'bin', 'eslint.js')
const FUZZ = path.join(ROOT, 'fuzz', 'Cargo.toml')
const SPEC_SCRIPTS = path.join(ROOT, '__test__', 'spec', 'scripts', 'Cargo.toml')
const WITHOUT_SINGLEPASS = path.join(ROOT, 'build', 'without-singlepass')

const started = Date.now()
const minutes = process.argv.includes('--minutes') ? Number(process.argv[process.argv.indexOf('--minutes') + 1]) : 85
const deadline = started + minutes * 60_000
const total = { passed: 0, failed: 0 }
const failures = []

/** Sums what every `pattern` captured. */
const sum = (text, pattern) => [...text.matchAll(pattern)].reduce((all, match) => all + Number(match[1]), 0)

const cargoCounts = (output) => ({
  passed: sum(output, /^test result: .*?(\d+) passed/gm),
  failed: sum(output, /^test result: .*?(\d+) failed/gm),
})

// ava says how many tests passed only if all did. Beside failed tests there are files that crashed, and errors and
// pending tests that belong to none.
const avaCounts = (output) => ({
  passed: output.match(/^ {2}[✔√] /gm)?.length ?? 0,
  failed: (output.match(/^ {2}[✘×] (?:\[fail\]:|.* exited due to )/gm)?.length ?? 0)
    + sum(output, /^ {2}(\d+) (?:uncaught exceptions?|unhandled rejections?)/gm)
    + sum(output, /(\d+) tests? (?:were|was|remained) pending/g),
})

/** A check that either holds or does not. */
async function check(title, command, args, options = {}) {
  const { ok } = await limited(title, command, args, options)
  if (!ok) total.failed += 1
  return ok
}

/** A check that counts its tests. One that fails without a failed test (it crashed, say) counts as one failure. */
async function tests(title, count, command, args, options = {}) {
  const { ok, output } = await limited(title, command, args, options)
  const { passed, failed } = count(output)
  total.passed += passed
  total.failed += ok ? failed : Math.max(failed, 1)
  console.log(`  ${passed} passed, ${failed} failed`)
  if (ok && passed === 0) {
    console.log('  no test ran, which cannot be right')
    total.failed += 1
  }
  return ok
}

async function limited(title, command, args, options) {
  const limit = deadline - Date.now()
  if (limit <= 0) {
    console.log(`✘ ${title}: not started, ${minutes} minutes are over`)
    failures.push(title)
    return { ok: false, output: '' }
  }
  const result = await step(title, command, args, { cwd: ROOT, limit, ...options })
  if (!result.ok) failures.push(title)
  return result
}

/** cargo and its arguments; the lock file decides the versions. */
const cargo = (subcommand, ...args) => ['cargo', [subcommand, '--locked', ...args]]

const ava = (node, files = [], env = {}) => [node, [AVA, ...files], { env: { FORCE_COLOR: '0', ...env } }]

/** Stress, and what is the same for every Node: Node 20 runs it. */
const ONCE = ['cache-defects', 'corruption', 'examples', 'instances', 'killed', 'misuse', 'package', 'readme', 'workers']

/** What the choice of the baseline's compiler can change. */
const BASELINE = ['fallback', 'instances', 'interruption', 'packages', 'spec', 'stack']

const FOLDERS = ['__test__/api/*.test.js', '__test__/conformance/*.test.js']
const file = (name) => `__test__/${name}.test.js`

const onOtherNodes = () => [
  ...FOLDERS,
  ...fs
    .readdirSync(path.join(ROOT, '__test__'))
    .filter((name) => name.endsWith('.test.js') && !ONCE.includes(name.replace('.test.js', '')))
    .map((name) => `__test__/${name}`),
]

async function main() {
  if (!(await prepare.packages())) {
    total.failed += 1
    return
  }
  await check('cargo fmt --check', 'cargo', ['fmt', '--all', '--check'])
  await check('eslint', process.execPath, [ESLINT, '.', '--max-warnings', '0'])
  await check('types', process.execPath, [path.join(__dirname, 'types.js')])
  await check('clippy', ...cargo('clippy', '--release', '--all-targets', '--', '-D', 'warnings'))
  await check('clippy without Singlepass', ...cargo('clippy', '--release', '--all-targets', '--no-default-features', '--', '-D', 'warnings'))
  await check('cargo fmt --check of the spec scripts', 'cargo', ['fmt', '--check', '--manifest-path', SPEC_SCRIPTS])
  await check('clippy of the spec scripts', ...cargo('clippy', '--release', '--manifest-path', SPEC_SCRIPTS, '--', '-D', 'warnings'))
  await check('cargo fmt --check of the fuzz targets', 'cargo', ['fmt', '--check', '--manifest-path', FUZZ])
  await check('clippy of the fuzz targets', ...cargo('clippy', '--release', '--manifest-path', FUZZ, '--', '-D', 'warnings'),
    { env: { RUSTFLAGS: '--cfg fuzzing' } })
  // libFuzzer needs Linux, as the other tools of the crash tests do.
  if (process.platform === 'linux') await check('fuzzing', process.execPath, [path.join(__dirname, 'fuzz.js'), '--seconds', '60'])
  await tests('cargo test', cargoCounts, ...cargo('test', '--release'))
  // The other tests are of what does not depend on the baseline's compiler.
  await tests('cargo test without Singlepass', cargoCounts, ...cargo('test', '--release', '-p', 'wasm-compile-cache-engine', '--no-default-features', '--lib', '--test', 'engine'))

  const built = await prepare.addon()
  if (!built) total.failed += 1
  const hasNodes = await prepare.nodes()
  if (!hasNodes) total.failed += 1
  if (built) {
    const current = Number(process.versions.node.split('.')[0])
    await tests(`ava on Node ${process.versions.node}`, avaCounts, ...ava(process.execPath))
    const others = prepare.otherNodes().filter(({ major }) => major !== current)
    for (const { major, path: node } of others) {
      await tests(`ava on Node ${major}`, avaCounts, ...ava(node, onOtherNodes()))
    }
    if (others.length === 0) console.log(`  there are no other Nodes for ${process.platform}-${process.arch} to test on`)
  }

  fs.mkdirSync(WITHOUT_SINGLEPASS, { recursive: true })
  const without = await check('build without Singlepass', process.execPath,
    [path.join(__dirname, 'build.js'), '--no-default-features', '--output-dir', WITHOUT_SINGLEPASS])
  if (built && without) {
    // Not the oldest Node: that one runs the slow packages, too.
    const { major, path: node } = prepare.otherNodes().at(-1) ?? { major: 'at hand', path: process.execPath }
    await tests(`ava on Node ${major} without Singlepass`, avaCounts,
      ...ava(node, [...FOLDERS, ...BASELINE.map(file)], { NAPI_RS_NATIVE_LIBRARY_PATH: addonPath(WITHOUT_SINGLEPASS) }))
  }
}

main().catch((error) => {
  console.error(error)
  total.failed += 1
}).finally(() => {
  for (const title of failures) console.log(`✘ ${title}`)
  console.log(`All of it took ${seconds(Date.now() - started)}.`)
  console.log(`${total.passed} passed, ${total.failed} failed`)
  if (total.failed > 0 || total.passed === 0) process.exitCode = 1
})
