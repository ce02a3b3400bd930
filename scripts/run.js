'use strict'

// One child process, told in a line or two: its title, where it has got to while it takes longer than a second, and its
// whole output only if it fails. Node built-ins alone: this runs before anything is installed.

const { spawn } = require('node:child_process')

const PROGRESS_AFTER = 1_000
const PROGRESS_EVERY = process.stdout.isTTY ? 1_000 : 10_000

const seconds = (ms) => (ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.round(ms / 1000)} s`)

const lastLine = (text) => {
  const lines = text
    .slice(-2_000)
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)
  return lines.length === 0 ? '' : lines[lines.length - 1].slice(0, 90)
}

/**
 * Runs a command and waits for its end.
 *
 * @param {string} title what to call it
 * @param {string} command
 * @param {string[]} args
 * @param {{cwd?: string, env?: object, limit?: number, log?: (line: string) => void}} [options] `limit` in ms: the
 *   child and its children are ended when it is over.
 * @returns {Promise<{ok: boolean, output: string, stdout: string, ms: number, why: string}>} never rejects
 */
function run(title, command, args, options = {}) {
  const { cwd, env, limit, log = console.log } = options
  const started = Date.now()
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that `limit` also reaches what the child has started.
      detached: true,
    })
    let output = ''
    let stdout = ''
    let why = ''
    let overwrite = false
    const progress = () => {
      const line = `  … ${title}, ${seconds(Date.now() - started)}  ${lastLine(output)}`
      if (process.stdout.isTTY) {
        process.stdout.write(`\r\x1b[2K${line.slice(0, (process.stdout.columns || 80) - 1)}`)
        overwrite = true
      } else {
        log(line)
      }
    }
    const first = setTimeout(progress, PROGRESS_AFTER)
    const every = setInterval(progress, PROGRESS_EVERY)
    const stop = () => {
      try {
        process.kill(-child.pid, 'SIGKILL')
      } catch {
        // It has ended by itself meanwhile.
      }
    }
    const limiter =
      limit === undefined
        ? undefined
        : setTimeout(() => {
            why = `not done after ${seconds(limit)}`
            stop()
          }, limit)
    const interrupted = () => {
      stop()
      process.exit(130)
    }
    process.once('SIGINT', interrupted)
    child.stdout.setEncoding('utf8').on('data', (text) => {
      output += text
      stdout += text
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text
    })
    const finish = (ok) => {
      clearTimeout(first)
      clearInterval(every)
      clearTimeout(limiter)
      process.off('SIGINT', interrupted)
      if (overwrite) process.stdout.write('\r\x1b[2K')
      resolve({ ok, output, stdout, ms: Date.now() - started, why })
    }
    child.once('error', (error) => {
      why = error.code === 'ENOENT' ? `${command} was not found` : error.message
      finish(false)
    })
    child.once('close', (code, signal) => {
      if (code !== 0 && why === '') why = signal === null ? `exit code ${code}` : `ended by ${signal}`
      finish(code === 0)
    })
  })
}

/** As `run`, but says how it went, and shows the output of what failed. */
async function step(title, command, args, options = {}) {
  const { log = console.log } = options
  const result = await run(title, command, args, options)
  if (result.ok) {
    log(`✔ ${title} (${seconds(result.ms)})`)
  } else {
    if (result.output.trim() !== '') log(result.output.trimEnd())
    log(`✘ ${title}: ${result.why} (${seconds(result.ms)})`)
  }
  return result
}

/** How to start npm: the one that runs us, if one does. */
function npm(args) {
  const cli = process.env.npm_execpath
  if (cli && /npm-cli\.[cm]?js$/.test(cli)) return [process.execPath, [cli, ...args]]
  return ['npm', args]
}

module.exports = { run, step, npm, seconds }
