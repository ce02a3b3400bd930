'use strict'
// Without /proc, or a descriptor that is left, a program runs under register as on Node alone. Linux only.

const { execFile } = require('node:child_process')
const path = require('node:path')
const initial = require('ava')

const { environment, folder } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { REGISTER, moduleFile } = require('./support/programs.js')

const test = linux ? initial : initial.skip
const CHILD = path.join(__dirname, 'children/descriptors.js')

const MODULE = `(module
  (import "env" "count" (global $count (mut i32)))
  (memory 1) (data (i32.const 0) "\\02")
  (func (export "run") (result i32)
    (global.set $count (i32.add (global.get $count) (i32.load8_u (i32.const 0))))
    (global.get $count)))`

const FEW = ['bash', '-c', 'ulimit -n 200; exec "$@"', 'bash']
const NO_PROC = [
  ...['unshare', '--user', '--map-root-user', '--mount'].filter((word) => process.getuid?.() !== 0 || !/user/.test(word)),
  'sh',
  '-c',
  'mount -t tmpfs none /proc && exec "$@"',
  'sh',
]

/** Runs a program; undefined where no file system can be mounted. */
function run(t, under, argv) {
  const [program, ...all] = [...under, process.execPath, ...argv]
  return new Promise((resolve, reject) => {
    const env = environment({ WASM_COMPILE_CACHE: path.join(folder(t), 'cache'), WASM_COMPILE_CACHE_FINISH: '0' })
    execFile(program, all, { env }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout)
      if (!/^(unshare|mount): |ENOENT/.test(stderr || error.message)) {
        return reject(new Error(`${error.message}\n${stdout}${stderr}`))
      }
      t.log(`no file system can be mounted here: ${stderr || error.message}`)
      t.pass()
      resolve()
    })
  })
}

async function equal(t, under, argv, flags = []) {
  const plain = await run(t, under, [...flags, ...argv])
  if (plain === undefined) return
  t.is(await run(t, under, [...flags, '--require', REGISTER, ...argv]), plain)
  return plain
}

for (const when of ['ordinary', 'listening']) {
  test(`without /proc a program runs: ${when}`, async (t) => {
    const told = await equal(t, NO_PROC, [CHILD, await moduleFile(t, MODULE), when])
    if (told !== undefined) t.deepEqual(JSON.parse(told), { sync: 42, async: 42, stream: 42, again: 42, early: 42 })
  })
}

test('without /proc the fetch of Node, whose parser is WebAssembly, works', async (t) => {
  const program = `
    const server = require('node:http').createServer((request, response) => response.end('hello')).listen(0, '127.0.0.1', async () => {
      console.log(await (await fetch('http://127.0.0.1:' + server.address().port)).text())
      server.close()
    })`
  const told = await equal(t, NO_PROC, ['-e', program])
  if (told !== undefined) t.is(told, 'hello\n')
})

test('without a descriptor that is left a program runs', async (t) => {
  const told = await equal(t, FEW, [CHILD, await moduleFile(t, MODULE), 'exhausted'])
  t.deepEqual(JSON.parse(told), { code: 'EMFILE', sync: 42, async: 42, stream: 42, again: 42, early: 42 })
})
