'use strict'

// npm run stress: what npm test does a little of, in large numbers, the build without Singlepass, and the addon as it is shipped.
//
//   node scripts/stress.js [--share <0 to 1>] [--minutes <n>]
//
// --share    of the full counts (2,000 kills, 500 workers, 100,000 damages, 20 minutes of fuzzing); 1 by default. Below 1
//            the other Nodes run only what npm test does not: the specification, and the newest the packages; and the
//            shipped addon runs no packages.
// --minutes  gives up (as a failure) when they are over; 180 by default

const path = require('node:path')
const { parseArgs } = require('node:util')
const prepare = require('./prepare.js')
const { BUILDS, ENGINE, STRESS_ONLY, build, generator, testFiles, testFilesWithout } = require('./test.js')

/** What reads STRESS (__test__/support/stress.js). */
const LARGE = [
  'archive-shipping',
  'atomics',
  'auto-containers',
  'cache-places',
  'difference',
  'flight',
  'instances',
  'interruption',
  'killed',
  'lazy',
  'operators',
  'remote-defects',
  'spec',
  'v8-code',
  'v8-code-failures',
  'workers',
]

/** What the baseline's compiler can change. */
const EVERY_BASELINE = ['api/*', 'fallback', 'instances', 'interruption', 'lazy', 'spec', 'stack']

/** What shows that the shipped build differs in nothing but speed. */
const SHIPPED = ['api/*', 'examples', 'package']
const SHIPPED_AT_NIGHT = [...SHIPPED, 'packages', 'packages-once', 'pages']

/** What every Node would take an hour for, and none changes; and what says what one Node prints. */
const ONCE = ['auto-containers', 'pages']

const FUZZING = 20 * 60

async function stress(suite, nextest, share) {
  suite.note('npm ci of the other Nodes', await prepare.nodes())
  suite.note('the servers of the tests', await prepare.servers())
  suite.note('the images of the tests', await prepare.images())
  if (share === 1) suite.note('npm ci of the large packages', await prepare.large())
  const env = { STRESS: `${share}` }
  const fuzz = [path.join(__dirname, 'fuzz.js'), '--seconds', `${Math.ceil(FUZZING * share)}`]
  // libFuzzer needs Linux, as the other tools of the crash tests do.
  if (process.platform === 'linux') await suite.check('fuzzing', [process.execPath, fuzz])
  await suite.nextest('damaged artifacts', nextest, ['--cargo-profile', 'checks', '--workspace', '-E', 'test(corruption)'], env)

  const whole = await build(suite, BUILDS.whole)
  const permissive = await build(suite, BUILDS.permissive)
  await generator(suite)
  await suite.nextest("the engine's tests without Singlepass", nextest, [...ENGINE, '--no-default-features'])
  const nodes = prepare.otherNodes()
  // Large numbers show nothing of these that small ones do not, unless there is a night for them.
  const few = share < 1 ? {} : env
  if (permissive !== undefined) {
    const { major, path: node } = nodes.at(-1) ?? { major: process.versions.node, path: process.execPath }
    const files = testFiles(share < 1 ? EVERY_BASELINE : [...EVERY_BASELINE, 'packages'])
    await suite.ava(`Node ${major} without Singlepass`, { node, files, env: { ...permissive, ...few } })
  }
  if (whole !== undefined) {
    await suite.ava('what npm test leaves out', { files: testFiles(STRESS_ONLY), env: { ...whole, ...few } })
    await suite.ava('large counts', { files: testFiles(LARGE), env: { ...whole, ...env } })
    for (const { major, path: node } of nodes) {
      if (major === Number(process.versions.node.split('.')[0])) continue
      const shared = major === nodes.at(-1).major ? ['spec', 'packages'] : ['spec']
      const files = share < 1 ? testFiles(shared) : testFilesWithout(ONCE)
      await suite.ava(`Node ${major}`, { node, files, env: { ...whole, ...env } })
    }
  }
  const shipped = suite.note('build of the addon as it is shipped', await prepare.addon())
  const files = testFiles(share < 1 ? SHIPPED : SHIPPED_AT_NIGHT)
  if (shipped) await suite.ava('the addon as it is shipped', { files, env })
}

const { values } = parseArgs({ options: { share: { type: 'string', default: '1' }, minutes: { type: 'string', default: '180' } } })
const share = Number(values.share)
if (!(share > 0 && share <= 1)) throw new Error('--share is more than 0 and at most 1')
prepare.suite(Number(values.minutes), (suite, nextest) => stress(suite, nextest, share))
