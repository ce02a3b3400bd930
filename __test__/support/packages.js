'use strict'
// Real packages, unmodified: byte for byte what they give on the built-in engine, cold, with the swap in the middle of the
// work, and hot.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('ava')
const { BASELINE, CACHED_FROM, OPTIMIZED, modulesOf, readEvents } = require('../packages/events.js')
const { isStress } = require('./stress.js')
const { remove } = require('./remove.js')

const register = path.join(__dirname, '../../register.js')
const observe = path.join(__dirname, '../packages/observe.js')

let folders = 0
let root
test.before(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-packages-'))
})
test.after.always(() => remove(root))

/** Runs one driver; with a cache directory on our engine, without on the built-in one. */
async function drive(name, { cache, loops = '1', finish = '0' }) {
  const events = path.join(root, `events-${folders++}`)
  const env = { ...process.env, LOOPS: loops }
  for (const key of Object.keys(env)) {
    if (/^(NODE_OPTIONS$|WASM_(DISABLE_)?COMPILE_CACHE|EVENTS$)/.test(key)) delete env[key]
  }
  if (cache) {
    // By NODE_OPTIONS, so that the processes and threads a package starts are ours as well.
    env.NODE_OPTIONS = `--require ${JSON.stringify(register)} --require ${JSON.stringify(observe)}`
    Object.assign(env, {
      WASM_COMPILE_CACHE: cache,
      WASM_COMPILE_CACHE_ENGINE: 'ours',
      WASM_COMPILE_CACHE_FINISH: finish,
      EVENTS: events,
    })
  }
  const { stdout, stderr } = await new Promise((resolve, reject) => {
    const args = [path.join(__dirname, '../packages', `${name}.js`)]
    execFile(process.execPath, args, { env, maxBuffer: 1 << 26 }, (error, out, err) => {
      // Without output it ended because nothing was left to wait for.
      if (error || out === '') {
        reject(new Error(`${name}: ${error?.signal ?? error?.code ?? 'no output'}\n${err}`, { cause: error }))
      } else resolve({ stdout: out, stderr: err })
    })
  })
  return { ...JSON.parse(stdout), stderr, events: readEvents(events) }
}

/** What a run complained about, however many rounds it had. */
const complaints = ({ stderr }) => [...new Set(stderr.replace(/^\(node:\d+\)/gm, '(node)').split('\n'))].sort().join('\n')

const fresh = () => fs.mkdtempSync(path.join(root, 'cache-'))
const count = (run, name) => run.events.filter((event) => event.name === name).length
const large = (run, ...names) =>
  [...modulesOf(run.events, ...names)]
    .filter(([, size]) => size >= CACHED_FROM)
    .map(([hash]) => hash)
    .sort()

const features = (run) => [...new Set(run.events.filter((event) => event.name === 'fallback').map((event) => event.feature))]

/**
 * Tests a package; its driver is in ../packages.
 *
 * @param {string} name
 * @param {object} about
 * @param {number} about.cached how many of its modules are large enough for the cache, and are ours
 * @param {RegExp} [about.fallback] the feature for which one of its modules is compiled by the built-in engine
 * @param {boolean} [about.command] whether a round is a process, so that the optimizing tier is what its exit hands over
 * @param {boolean} [about.slow] whether it is half a minute of compiling, and left to npm run stress
 * @param {number} [about.since] the first Node whose built-in engine knows what it is made of
 */
function gives(name, { cached, fallback, command, slow = false, since = 0 }) {
  if (Number(process.versions.node.split('.')[0]) < since || (slow && !isStress)) return

  test.serial(`${name} gives the same bytes on the built-in, cold, through the swap, and hot`, async (t) => {
    t.timeout(15 * 60 * 1000)
    const builtin = await drive(name, {})
    t.is(builtin.events.length, 0)
    const same = (run, when) => {
      t.is(run.digest, builtin.digest, when)
      t.is(complaints(run), complaints(builtin), `stderr, ${when}`)
      // pyodide looks for other features with modules of a few bytes, too.
      if (fallback) {
        t.true(
          features(run).some((feature) => fallback.test(feature)),
          `${features(run)}`
        )
      } else t.deepEqual(features(run), [])
    }

    const cold = await drive(name, { cache: fresh() })
    same(cold, 'cold')
    t.is(count(cold, 'moduleCacheHit') + count(cold, 'handedOff'), 0)
    t.is(large(cold, ...BASELINE).length, cached)

    const cache = fresh()
    if (count(cold, 'baselineReady') > 0) {
      const swap = await drive(name, { cache, loops: 'swap', finish: command ? '1' : '0' })
      same(swap, 'through the swap')
      // Of a package that falls back, what is ours is so small that it may be optimized at once.
      t.true(swap.loops > (fallback ? 1 : 2))
      t.log(`${swap.loops} rounds until the optimizing tier had taken over, and two more`)
      t.is(count(swap, 'moduleCacheInvalid') + count(swap, 'cacheWriteFailed'), 0)
    }

    const hot = await drive(name, { cache, loops: '2' })
    same(hot, 'hot')
    t.is(large(hot, 'moduleCacheHit').length, cached)
    t.deepEqual(large(hot, ...BASELINE), [], 'no baseline tier')
    t.deepEqual(large(hot, ...OPTIMIZED), [], 'no optimizing tier')
  })
}

module.exports = { gives }
