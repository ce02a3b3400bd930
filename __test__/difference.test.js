'use strict'
// Modules that nobody wrote do on our engine, in each of its modes (./difference/modes.js), what they do on the built-in of
// the running Node.
//
// DIFFERENCE_SEED     of the first module: 1 by default, and a random one under stress
// DIFFERENCE_SMALL    how many small modules
// DIFFERENCE_LARGE    how many of some hundred functions
// DIFFERENCE_TRIES    how many with exceptions in their older form
//
// The first difference is shrunk; the module, and what it was shrunk to, stay in build/difference/.

const { execFile, execFileSync } = require('node:child_process')
const { randomInt } = require('node:crypto')
const fs = require('node:fs')
const path = require('node:path')
const test = require('ava')

const { program } = require('./support/cargo.js')
const { assemble, builtin, ready } = require('./support/engine.js')
const { count, isStress } = require('./support/stress.js')

const ROOT = path.join(__dirname, '..')
const CHILD = path.join(__dirname, 'children/difference.js')
const MANIFEST = '__test__/difference/modules/Cargo.toml'
const KEPT = path.join(ROOT, 'build/difference')

const env = (name, otherwise) => Number(process.env[`DIFFERENCE_${name}`] ?? otherwise)

const FIRST = env('SEED', isStress ? randomInt(2 ** 31) : 1)

/** `batch`: how many run in a process. */
const PROFILES = {
  small: { modules: env('SMALL', isStress ? count(2000, 5000) : 100), batch: 250 },
  large: { modules: env('LARGE', count(1, 50)), batch: 5 },
  tries: { modules: env('TRIES', count(25, 5000)), batch: 250 },
}

/** So many modules do what one of them need not. */
const ENOUGH = 25

/** A process that takes so long for a batch hangs: a small module takes some hundredths of a second, a large one some seconds. */
const HANGS = 15 * 60 * 1000

/** What the built-in of an older Node does not have. */
const FEATURES = {
  exceptions: '(func (block $caught (try_table (catch_all $caught))))',
  'extended-const': '(global i32 (i32.add (i32.const 1) (i32.const 2)))',
  'multi-memory': '(memory 0) (memory 0)',
}

async function features() {
  await ready
  return Object.keys(FEATURES).filter((name) => builtin.validate(assemble(FEATURES[name])))
}

/** What a batch came to: `failures`, each with `seed`, `mode` and `found`; `sums` of what happened, if all of it ran. */
function run(generator, args) {
  return new Promise((resolve) => {
    const argv = [CHILD, JSON.stringify({ generator, args })]
    execFile(process.execPath, argv, { maxBuffer: Infinity, timeout: HANGS, killSignal: 'SIGKILL' }, (error, stdout, stderr) => {
      const lines = stdout
        .trimEnd()
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
      const failures = lines.flatMap(({ difference }) => difference ?? [])
      if (error !== null) {
        const { began } = lines.findLast((line) => line.began !== undefined) ?? { began: { seed: args[0], mode: 'none' } }
        const end = error.killed ? 'did not end' : `ended with ${error.signal ?? error.code}`
        failures.push({ ...began, found: `the process ${end}\n${stderr}` })
      }
      resolve({ failures, sums: lines.at(-1)?.sums })
    })
  })
}

/** The text of a module that fails as this one does, and is as small as can be had. */
function shrunk(generator, [, , ...what], { seed, mode }) {
  fs.mkdirSync(KEPT, { recursive: true })
  const file = path.join(KEPT, `${seed}.wasm`)
  fs.writeFileSync(file, execFileSync(generator, [seed, 1, ...what], { maxBuffer: Infinity }).subarray(4))
  try {
    const shrink = program(MANIFEST, 'shrink', ['shrink'])
    const command = [process.execPath, CHILD, JSON.stringify({ seed, mode })]
    return execFileSync(shrink, [file, path.join(KEPT, `${seed}.shrunk.wasm`), ...command], { encoding: 'utf8', stdio: 'pipe' })
  } catch (error) {
    return `It could not be shrunk: ${error.stderr ?? error.message}`
  }
}

for (const [profile, { modules, batch }] of Object.entries(PROFILES)) {
  test.serial(`${modules} ${profile} modules do what they do on the built-in`, async (t) => {
    t.timeout(60 * 60 * 1000)
    const generator = program(MANIFEST, 'generate')
    const names = await features()
    t.log(`seeds from ${FIRST}; ${['WebAssembly 2.0', 'threads', ...names].join(', ')}`)
    const all = {}
    for (let done = 0; done < modules; done += batch) {
      const args = [FIRST + done, Math.min(batch, modules - done), profile, ...names].map(String)
      const { failures, sums } = await run(generator, args)
      if (failures.length > 0) {
        for (const { seed, mode, found } of failures) t.log(`seed ${seed}, ${mode}: ${found}`)
        t.log(shrunk(generator, args, failures[0]))
        return t.fail(`seeds ${[...new Set(failures.map(({ seed }) => seed))].join(', ')}`)
      }
      for (const [name, number] of Object.entries(sums)) all[name] = (all[name] ?? 0) + number
    }
    t.log(all)
    // What is compared is worth it: most modules live, and do not end in a trap at once; some functions are optimized early.
    const isMany = modules >= ENOUGH
    t.true(!isMany || (all.instances > modules / 2 && all.returns > all.traps))
    t.true(!isMany || process.arch !== 'x64' || all.early > 0, 'functions were optimized before the rest of their modules')
  })
}
