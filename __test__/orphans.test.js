'use strict'
// In a container without an init a program is process 1, and waits for nobody that it has not started: what others leave
// behind would stay in its process table. Linux only.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { serial } = require('ava')

const { assemble } = require('./children/modules.js')
const { MAIN } = require('./support/cli.js')
const { HOT, entries, environment, folder, named, run, story } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { REGISTER } = require('./support/programs.js')
const { machine, padded } = require('./support/wat.js')

const test = linux ? serial : serial.skip
const PROCESS_1 = path.join(__dirname, 'children/process-1.js')

/** Runs a program as process 1; undefined where no such namespace can be made. */
function container(t, argv, cache, env = {}) {
  const user = process.getuid() === 0 ? [] : ['--user', '--map-root-user']
  const all = environment({ WASM_COMPILE_CACHE: cache, ...env })
  delete all.WASM_COMPILE_CACHE_FINISH
  return new Promise((resolve, reject) => {
    execFile(
      'unshare',
      [...user, '--pid', '--fork', '--kill-child', '--mount-proc', ...argv],
      { env: all, timeout: 120_000, killSignal: 'SIGKILL' },
      (error, stdout, stderr) => {
        if (error === null) return resolve(JSON.parse(stdout.trimEnd().split('\n').at(-1)))
        if (!/^unshare: |ENOENT/.test(stderr || error.message)) return reject(new Error(`${error.message}\n${stdout}${stderr}`))
        t.log(`no process can be process 1 here: ${stderr || error.message}`)
        t.pass()
        resolve()
      }
    )
  })
}

/** A command that ends before the optimizing tier is done. */
async function early(t) {
  const file = path.join(folder(t), 'module.wasm')
  fs.writeFileSync(file, padded(await machine(), 128 * 1024))
  return { modules: [{ file, calls: [['run', 9]] }], busy: true, end: 'return' }
}

test('where process 1 waits for nobody, commands leave nobody', async (t) => {
  const cache = folder(t)
  const told = await container(t, [process.execPath, PROCESS_1, JSON.stringify(await early(t)), '2'], cache)
  if (told === undefined) return
  t.is(told.pid, 1)
  t.deepEqual(told.zombies, [])
  t.deepEqual(named(told, 'handedOff'), [])
  t.deepEqual(
    fs.readdirSync(cache, { recursive: true }).filter((name) => name.endsWith('.spool')),
    []
  )
})

test('where process 1 has loaded this package, it waits for what commands leave', async (t) => {
  const cache = folder(t)
  const job = await early(t)
  const told = await container(t, [process.execPath, '--require', REGISTER, PROCESS_1, JSON.stringify(job), '1', 'rid'], cache)
  if (told === undefined) return
  t.deepEqual(told.zombies, [])
  t.is(named(told, 'handedOff').length, 1)
  t.is(entries(cache).length, 1)
  t.deepEqual(story(await run({ modules: job.modules }, { cache })), HOT)
})

test('a command that waits for what its script would leave needs nobody, and may be process 1', async (t) => {
  const [cache, at] = [folder(t), folder(t)]
  const file = path.join(at, 'module.wasm')
  const text = `(module (func $f (result i32) (i32.const 7)) (func (export "run") (result i32) (return_call $f)))`
  fs.writeFileSync(file, padded(await assemble(text), 128 * 1024))
  const script = path.join(at, 'script.js')
  fs.writeFileSync(
    script,
    `const made = new WebAssembly.Module(require('node:fs').readFileSync(${JSON.stringify(file)}))
    console.log(new WebAssembly.Instance(made).exports.run())`
  )
  const argv = [process.execPath, MAIN, 'run', '--wait', script]
  if ((await container(t, argv, cache, { WASM_COMPILE_CACHE_ENGINE: 'auto' })) === undefined) return
  const [name] = fs.readdirSync(path.join(cache, 'verdicts'))
  const { basis, codes } = JSON.parse(fs.readFileSync(path.join(cache, 'verdicts', name), 'utf8'))
  t.deepEqual([basis, Object.values(codes).map(({ bytes }) => bytes > 0)], ['refused', [true]])
  t.deepEqual(fs.readdirSync(path.join(cache, 'seen')), [])
})

test('where process 1 is an init, commands leave a finisher', async (t) => {
  const cache = folder(t)
  // A shell waits for all. It stays, because another command follows.
  const script = '"$@"; r=$?; wait; exit $r'
  const told = await container(
    t,
    ['bash', '-c', script, 'bash', process.execPath, PROCESS_1, JSON.stringify(await early(t)), '1'],
    cache
  )
  if (told === undefined) return
  t.not(told.pid, 1)
  t.is(named(told, 'handedOff').length, 1)
})

test('process 1 itself leaves nobody, who would be ended with it', async (t) => {
  const cache = folder(t)
  const command = path.join(__dirname, 'children/command.js')
  const told = await container(t, [process.execPath, command, JSON.stringify(await early(t))], cache)
  if (told === undefined) return
  t.is(told.pid, 1)
  t.deepEqual(named(told, 'handedOff'), [])
})

test("process 1 waits for no other's children", async (t) => {
  const cache = folder(t)
  // The program waits for its own, which ends as any other.
  const code = `
    const { spawn } = require('node:child_process')
    const child = spawn('sh', ['-c', 'exit 7'])
    child.on('exit', (code, signal) => console.log(JSON.stringify([code, signal])))`
  const told = await container(t, [process.execPath, '--require', REGISTER, '-e', code], cache)
  if (told !== undefined) t.deepEqual(told, [7, null])
})
