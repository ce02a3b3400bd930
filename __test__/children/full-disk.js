'use strict'
// node full-disk.js <directory on a small file system of its own> <job in JSON>: does the job of command.js with the
// cache there, four times: to make the directory (and store nothing), while the disk is full, and twice when there is
// space again. Prints what became of each.

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const [disk, job] = process.argv.slice(2)
const cache = path.join(disk, 'cache')
const filler = path.join(disk, 'filler')

function run(what) {
  const env = { ...process.env, WASM_COMPILE_CACHE: cache }
  const stdout = execFileSync(process.execPath, [path.join(__dirname, 'command.js'), what], { env, encoding: 'utf8' })
  return { ...JSON.parse(stdout), files: fs.readdirSync(cache, { recursive: true }) }
}

/** Writes until not a byte more will go. */
function fill() {
  const to = fs.openSync(filler, 'w')
  try {
    for (const length of [4096, 1]) {
      try {
        for (;;) fs.writeSync(to, Buffer.alloc(length))
      } catch (error) {
        if (error.code !== 'ENOSPC') throw error
      }
    }
  } finally {
    fs.closeSync(to)
  }
}

const { modules } = JSON.parse(job)
const unstored = modules.map((module) => ({ ...module, options: { ...module.options, cache: 'read-only' } }))
const first = run(JSON.stringify({ modules: unstored }))
fill()
const full = run(job)
fs.rmSync(filler)
console.log(JSON.stringify([first, full, run(job), run(job)]))
