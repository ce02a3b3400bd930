'use strict'

// Fuzzes what the cache reads from disk (fuzz/): builds the targets with libFuzzer's coverage on stable Rust, and runs
// each for its share of the time.
//
//   node scripts/fuzz.js [--seconds <n>] [target…]    60 seconds over all targets by default
//
// Inputs that found something are in build/fuzz/<target>/ afterwards; to see one fail again, name it:
// build/fuzz/<target>/<target> <input>.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { parseArgs } = require('node:util')
const { step } = require('./run.js')

const ROOT = path.join(__dirname, '..')
const FUZZ = path.join(ROOT, 'fuzz')
const OUTPUT = path.join(ROOT, 'build', 'fuzz')
const TARGETS = ['artifact', 'index']

// What cargo-fuzz passes, too, without a sanitizer: those need a nightly compiler, and the cache has no unsafe code.
const COVERAGE = [
  '--cfg fuzzing',
  '-Cpasses=sancov-module',
  '-Cllvm-args=-sanitizer-coverage-level=4',
  '-Cllvm-args=-sanitizer-coverage-inline-8bit-counters',
  '-Cllvm-args=-sanitizer-coverage-pc-table',
  '-Cllvm-args=-sanitizer-coverage-trace-compares',
].join(' ')

function options() {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { seconds: { type: 'string', default: '60' } } })
  const seconds = Number(values.seconds)
  const unknown = positionals.find((target) => !TARGETS.includes(target))
  if (!(seconds > 0) || unknown) throw new Error(`usage: fuzz.js [--seconds <n>] [${TARGETS.join('|')}…]`)
  return { seconds, targets: positionals.length > 0 ? positionals : TARGETS }
}

/** Where the programs are, or undefined. */
async function build() {
  const host = /^host: (.*)$/m.exec(execFileSync('rustc', ['-vV'], { encoding: 'utf8' }))[1]
  const directory = path.join(process.env.CARGO_TARGET_DIR ?? path.join(ROOT, 'target'), 'fuzz')
  // A target that is named keeps the flags from build scripts, which have nothing to link the coverage with.
  const args = ['build', '--locked', '--release', '--manifest-path', path.join(FUZZ, 'Cargo.toml'), '--target', host]
  const { ok } = await step('build of the fuzz targets', 'cargo', [...args, '--target-dir', directory], {
    cwd: ROOT,
    env: { RUSTFLAGS: COVERAGE },
  })
  return ok ? path.join(directory, host, 'release') : undefined
}

/** Runs one target; whether nothing was found, and the coverage led somewhere. */
async function fuzz(programs, target, seconds) {
  const folder = path.join(OUTPUT, target)
  const corpus = path.join(folder, 'corpus')
  fs.mkdirSync(corpus, { recursive: true })
  fs.copyFileSync(path.join(programs, target), path.join(folder, target))
  const { ok, output } = await step(
    `fuzzing ${target}`,
    path.join(folder, target),
    [corpus, `-artifact_prefix=${folder}/`, `-max_total_time=${seconds}`, '-max_len=2048', '-len_control=0', '-timeout=60'],
    { cwd: folder }
  )
  const covered = [...output.matchAll(/^#\d+\s+(\w+)\s+cov: (\d+)/gm)].map(([, event, count]) => ({ event, count: Number(count) }))
  const first = covered.find(({ event }) => event === 'INITED')?.count ?? 0
  const last = covered.at(-1)?.count ?? 0
  const runs = Number(/^Done (\d+) runs/m.exec(output)?.[1] ?? 0)
  console.log(`  ${runs} runs, ${first} to ${last} places covered`)
  // A corpus of an earlier run begins with what it has found.
  if (ok && !(runs > 0 && last > 0 && (last > first || fs.readdirSync(corpus).length > 100))) {
    console.log(`✘ fuzzing ${target}: the coverage does not grow, so it does not guide`)
    return false
  }
  return ok
}

async function main() {
  const { seconds, targets } = options()
  const programs = await build()
  if (!programs) return false
  let ok = true
  for (const target of targets) {
    ok = (await fuzz(programs, target, Math.ceil(seconds / targets.length))) && ok
  }
  return ok
}

main().then(
  (ok) => {
    if (!ok) process.exitCode = 1
  },
  (error) => {
    console.error(error.message)
    process.exitCode = 1
  }
)
