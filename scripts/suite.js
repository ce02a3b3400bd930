'use strict'

// A run of checks and tests: each is a line with its time, and goes on after one that failed. What cargo-nextest and ava
// say is read in the forms they have for programs (libtest's JSON, TAP). At the end: what failed, where the time went,
// the slowest tests, and as the last line `N passed, N failed`. A check that is no test counts only when it fails.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { Parser } = require('tap-parser')
const { run, seconds } = require('./run.js')

const ROOT = path.join(__dirname, '..')
const AVA = path.join(ROOT, 'node_modules', 'ava', 'entrypoints', 'cli.mjs')
const SLOWEST = 20

const jsonLines = (text) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))

/** What nextest said: libtest's events, one a line. `name` is crate::binary$test. */
function readNextest(stdout) {
  const ended = jsonLines(stdout).filter(({ type, event }) => type === 'test' && (event === 'ok' || event === 'failed'))
  const failed = ended.filter(({ event }) => event === 'failed')
  return {
    passed: ended.length - failed.length,
    failed: failed.length,
    told: failed.map(({ name, stdout: output = '' }) => `${name}\n${output}`),
    times: ended.map(({ name, exec_time }) => ({ name: name.replace('$', ' › '), ms: exec_time * 1000 })),
  }
}

/** What ava said: a result for each test, each hook that failed, and each process that did. */
function readTap(stdout, timesFile) {
  const results = Parser.parse(stdout)
    .filter(([kind]) => kind === 'assert')
    .map(([, assert]) => assert)
  const failed = results.filter(({ ok, todo, skip }) => !ok && !todo && !skip)
  const times = fs.existsSync(timesFile) ? jsonLines(fs.readFileSync(timesFile, 'utf8')) : []
  return {
    passed: results.filter(({ ok, skip }) => ok && !skip).length,
    failed: failed.length,
    // As ava wrote it: the parser takes the comments away, which are what a test logged.
    told: stdout.split(/^(?=(?:not )?ok \d)/m).filter((text) => text.startsWith('not ok')),
    times: times.map(({ file, title, ms }) => ({ name: `${file} › ${title}`, ms })),
  }
}

class Suite {
  #deadline
  #failures = []
  #minutes
  #started = Date.now()
  #times = []
  #total = { passed: 0, failed: 0 }

  /** @param {number} minutes after which what runs is ended and counts as failed, and nothing else begins */
  constructor(minutes) {
    this.#minutes = minutes
    this.#deadline = this.#started + minutes * 60_000
  }

  /** A check that either holds or does not. */
  async check(title, [command, args], options = {}) {
    const result = await this.#limited(title, command, args, options)
    if (!result.ok && result.output.trim() !== '') console.log(result.output.trimEnd())
    return this.#ended(title, result, '')
  }

  /** What another step did by itself, e.g. installing packages. */
  note(title, ok) {
    if (!ok) this.#fail(title, 1)
    return ok
  }

  /** Rust's tests. @param {string[]} args for `cargo nextest run` */
  nextest(title, [command, prefix], args, env = {}) {
    const all = [...prefix, 'run', '--locked', '--no-fail-fast', '--message-format', 'libtest-json', ...args]
    return this.#tests(title, readNextest, command, all, { env: { ...env, NEXTEST_EXPERIMENTAL_LIBTEST_JSON: '1' } })
  }

  /** JavaScript's tests: all files by default, all tests but those whose titles match one of `without`, where `*` is any text. */
  async ava(title, { node = process.execPath, files = [], env = {}, without = [] }) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-times-'))
    const times = path.join(folder, 'times')
    try {
      const read = (stdout) => readTap(stdout, times)
      return await this.#tests(title, read, node, [AVA, '--tap', ...without.flatMap((one) => ['--match', `!${one}`]), ...files], {
        env: { ...env, TEST_TIMES: times },
      })
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }

  async #tests(title, read, command, args, options) {
    const result = await this.#limited(title, command, args, options)
    const { passed, failed, told, times } = read(result.stdout)
    this.#total.passed += passed
    this.#times.push(...times.map(({ name, ms }) => ({ name: `${title}: ${name}`, ms })))
    for (const text of told) console.log(text.trimEnd())
    const ran = passed + failed > 0
    if (!result.ok && failed === 0) console.log(result.output.slice(-10_000).trimEnd())
    if (result.ok && !ran) result.why = 'no test ran, which cannot be right'
    // One that fails without a failed test (it crashed, say) counts as one failure.
    const ok = result.ok && failed === 0 && ran
    return this.#ended(title, { ...result, ok }, `: ${passed} passed, ${failed} failed`, Math.max(failed, 1))
  }

  async #limited(title, command, args, options) {
    const limit = this.#deadline - Date.now()
    if (limit <= 0) return { ok: false, output: '', stdout: '', ms: 0, why: `not started, ${this.#minutes} minutes are over` }
    return run(title, command, args, { cwd: ROOT, limit, ...options })
  }

  #ended(title, { ok, ms, why }, counts, failed = 1) {
    console.log(`${ok ? '✔' : '✘'} ${title}${counts}${ok ? '' : `: ${why || 'tests failed'}`} (${seconds(ms)})`)
    if (!ok) this.#fail(title, failed)
    return ok
  }

  #fail(title, count) {
    this.#failures.push(title)
    this.#total.failed += count
  }

  /** Prints the end, and sets the exit code. */
  end() {
    const line = ({ name, ms }) => `  ${seconds(ms).padStart(7)}  ${name}`
    const slowest = [...this.#times].sort((a, b) => b.ms - a.ms).slice(0, SLOWEST)
    if (slowest.length > 0) console.log(`The ${slowest.length} slowest tests:\n${slowest.map(line).join('\n')}`)
    for (const title of this.#failures) console.log(`✘ ${title}`)
    const { passed, failed } = this.#total
    console.log(`All of it took ${seconds(Date.now() - this.#started)}.`)
    console.log(`${passed} passed, ${failed} failed`)
    if (failed > 0) process.exitCode = 1
  }

  /** A program's main function: whatever it throws is a failure, and the end is printed. */
  static async main(minutes, body) {
    const suite = new Suite(minutes)
    try {
      await body(suite)
    } catch (error) {
      console.error(error)
      suite.note(error.message, false)
    }
    suite.end()
  }
}

module.exports = { Suite }
