'use strict'
// Objects that are damaged, swapped, old, unsigned or signed by somebody else: none is run, and each has its reason.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const initial = require('ava')

const { environment, folder, named, run } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { job, material, objects, reader, writer } = require('./support/remote.js')
const { sharedFolder } = require('./support/servers.js')
const { count } = require('./support/stress.js')

const test = linux ? initial.serial : initial.serial.skip
initial('damaged objects are tested where processes can be looked at', (t) => {
  if (!linux) t.log(`not on ${process.platform}`)
  t.is(linux, process.platform === 'linux')
})

const CHILD = path.join(__dirname, 'children/remote-defects.js')

test('none of them is run, and each has its reason', async (t) => {
  const made = await material()
  t.teardown(made.remove)
  const remote = sharedFolder(t)
  const first = await run(job(made.file), { cache: folder(t), env: writer(remote, made.keys) })
  t.is(named(first, 'remoteStored').length, 1)
  await run(job(made.large), { cache: folder(t), env: writer(remote, made.keys) })
  const [one, another] = objects(remote.files).sort((a, b) => fs.statSync(a).size - fs.statSync(b).size)
  const seed = Number(process.env.SEED ?? Date.now() % 1e6)
  t.log(`SEED=${seed}`)
  const given = {
    seed,
    cases: count(50, 1000),
    file: made.file,
    right: made.right[0],
    good: one,
    other: another,
    keys: made.keys,
    stranger: made.other,
  }
  const env = environment({ ...reader(remote, made.keys), WASM_COMPILE_CACHE: folder(t), WASM_COMPILE_CACHE_FINISH: '0' })
  const { stdout } = await new Promise((resolve, reject) => {
    const limits = { env, maxBuffer: 2 ** 24 }
    execFile(process.execPath, [CHILD, JSON.stringify(given)], limits, (error, stdout, stderr) =>
      error === null ? resolve({ stdout }) : reject(new Error(`${error.message}\n${stderr}`))
    )
  })
  const told = JSON.parse(stdout)
  t.log(told.reasons)
  t.deepEqual(told.wrong, [])
  t.is(told.refused, given.cases)
  t.true(told.taken > 0, 'what is not damaged is taken')
})
