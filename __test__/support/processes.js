'use strict'
// Detached processes, seen from outside: /proc, so Linux only.

const fs = require('node:fs')

const linux = process.platform === 'linux'

function read(pid, what) {
  try {
    return fs.readFileSync(`/proc/${pid}/${what}`, 'utf8')
  } catch (error) {
    if (!['ENOENT', 'ESRCH'].includes(error.code)) throw error
    return undefined
  }
}

/** Fields 3 and following of /proc/<pid>/stat (proc(5)), from 'state' on; undefined when there is no such process. */
const status = (pid) =>
  read(pid, 'stat')
    ?.replace(/^.*\) /s, '')
    .split(' ')

/** A process that has ended may have nobody who takes notice: then it stays, as a zombie. */
const isOver = (pid) => {
  const [state] = status(pid) ?? ['X']
  return state === 'Z' || state === 'X'
}

/** Waits for `met` to hold; gives up after four minutes, before the tests' runner does. */
async function until(met, what) {
  for (let left = 12_000; !met(); left--) {
    if (left === 0) throw new Error(`in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

/** Waits for the end of processes that are not our children: nothing tells of it. */
const over = (pids) => until(() => pids.every(isOver), `the end of ${pids}`)

const processes = (are) =>
  fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && are(name))
    .map(Number)

/** The processes that have `text` in their arguments. What is left to become another program still has its parent's. */
const mentioning = (text) => processes((pid) => given(pid, 'cmdline').includes(text))

/** The processes that have a variable with this value, which those that a program leaves behind have from it from the first. */
const having = (variable) => processes((pid) => list(given(pid, 'environ')).includes(variable))

const isProgram = (pid) => {
  try {
    return fs.readlinkSync(`/proc/${pid}/exe`) !== ''
  } catch {
    return false
  }
}

/** What a process was given ('cmdline', 'environ'): one that becomes another program has nothing for a moment. Nothing of others'. */
function given(pid, what) {
  try {
    for (let left = 50; ; left--) {
      const text = read(pid, what) ?? ''
      if (text !== '' || left === 0 || !isProgram(pid)) return text
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)
    }
  } catch {
    return ''
  }
}

/** Who holds a file's lock, and who waits for it: process ids, as the system says (proc_locks(5)). */
function locks(file) {
  const inode = fs.statSync(file, { throwIfNoEntry: false })?.ino
  const lines = fs
    .readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`:${inode} `))
  const pids = (chosen) => chosen.map((line) => Number(/(?:READ|WRITE) +(\d+) /.exec(line)[1]))
  const waits = (line) => line.includes('->')
  return { holders: pids(lines.filter((line) => !waits(line))), waiting: pids(lines.filter(waits)) }
}

/** The threads of a process that have this name: how often each gave up its processor so far, by id. */
function switches(pid, name) {
  const threads = fs.readdirSync(`/proc/${pid}/task`).filter((id) => read(pid, `task/${id}/comm`) === `${name}\n`)
  return Object.fromEntries(threads.map((id) => [id, /^voluntary_ctxt_switches:\s*(\d+)/m.exec(read(pid, `task/${id}/status`))[1]]))
}

/** The mappings of files whose names end so: what smaps says of each, in kB (proc_pid_smaps(5)), and its offset. */
function mappings(pid, ending) {
  return read(pid, 'smaps')
    .split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/)
    .map((text) => text.split('\n'))
    .filter(([head]) => head.endsWith(ending))
    .map(([head, ...fields]) => ({
      offset: head.split(' ')[2],
      ...Object.fromEntries(fields.map((line) => [line.split(':')[0], Number.parseInt(line.split(':')[1])])),
    }))
}

const list = (text) => text.split('\0').filter((one) => one !== '')

/** What a process was given: its arguments, its environment, its folder, its open files, its session, its niceness. */
function inspect(pid) {
  const fields = status(pid)
  const descriptors = fs.readdirSync(`/proc/${pid}/fd`)
  return {
    argv: list(read(pid, 'cmdline')),
    env: Object.fromEntries(
      list(read(pid, 'environ')).map((one) => [one.slice(0, one.indexOf('=')), one.slice(one.indexOf('=') + 1)])
    ),
    cwd: fs.readlinkSync(`/proc/${pid}/cwd`),
    files: Object.fromEntries(descriptors.map((name) => [name, fs.readlinkSync(`/proc/${pid}/fd/${name}`)])),
    session: Number(fields[3]),
    nice: Number(fields[16]),
  }
}

module.exports = { given, having, inspect, linux, locks, mappings, mentioning, over, switches, until }
