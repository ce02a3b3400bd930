'use strict'
// node process-1.js <job in JSON> <times>: as process 1, runs the command of ./command.js so often, waits until nobody else
// is there but zombies, and with "rid" as third argument until those are gone as well. It prints the commands' events, and
// the zombies' names.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const [job, times, rid] = process.argv.slice(2)
const COMMAND = path.join(__dirname, 'command.js')

function others() {
  const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !['1', `${process.pid}`].includes(name))
  return pids.flatMap((pid) => {
    try {
      const [, name, state] = /\((.*)\) (\S)/s.exec(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))
      return [{ name, state }]
    } catch {
      return []
    }
  })
}

const told = Array.from({ length: Number(times) }, () => {
  const env = { ...process.env, NODE_OPTIONS: '' }
  return JSON.parse(execFileSync(process.execPath, [COMMAND, job], { env, encoding: 'utf8' }).trimEnd().split('\n').at(-1))
})

function look() {
  const left = others()
  if (left.some(({ state }) => rid === 'rid' || state !== 'Z')) setTimeout(look, 20)
  else {
    console.log(
      JSON.stringify({ pid: process.pid, events: told.flatMap(({ events }) => events), zombies: left.map(({ name }) => name) })
    )
  }
}
look()
