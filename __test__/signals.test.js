'use strict'
// A signal that somebody sends, and a fault that is not WebAssembly's, do what they do to a program without this package.

const { execFile } = require('node:child_process')
const test = require('ava')

const { environment } = require('./support/commands.js')
const { linux } = require('./support/processes.js')
const { REGISTER, moduleFile } = require('./support/programs.js')

const CHILD = require.resolve('./children/signals.js')

const MODULE = `(module
  (import "env" "call" (func $call))
  (memory (export "memory") 1 1 shared)
  (func (export "call") (call $call))
  (func (export "loop") 
    (i32.atomic.store (i32.const 0) (i32.const 1))
    (drop (memory.atomic.notify (i32.const 0) (i32.const 1)))
    (loop $again (br $again)))
  (func (export "divide") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "unreachable") (unreachable))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))`

/** What the child printed, and how it ended. What keeps it for ever is a failure. */
function run(file, name, job, flags, under = []) {
  return new Promise((resolve, reject) => {
    const settings = { env: environment({ WASM_COMPILE_CACHE_FINISH: '0' }), timeout: 120_000, killSignal: 'SIGKILL' }
    const [program, ...argv] = [...under, process.execPath, ...flags, CHILD, file, name, job]
    execFile(program, argv, settings, (error, stdout, stderr) => {
      const { code = 0, signal = null, killed = false } = error ?? {}
      if (killed) reject(new Error(`it did not end: ${job} with ${name}\n${stdout}${stderr}`))
      else resolve({ code, signal, stdout, stderr })
    })
  })
}

/** How the job ends on both engines, which has to be the same. */
async function equal(t, name, job, flags = []) {
  const file = await moduleFile(t, MODULE)
  const ours = await run(file, name, job, [...flags, '--require', REGISTER])
  t.deepEqual(ours, await run(file, name, job, flags))
  return ours
}

const FAULTS = ['SIGFPE', 'SIGILL', 'SIGSEGV', 'SIGBUS']

const testLinux = linux ? test : test.skip

for (const name of FAULTS) {
  for (const [job, where] of Object.entries({
    outside: 'JavaScript',
    inside: 'an import',
    looping: 'WebAssembly that loops',
    worker: 'a worker',
    workerInside: "a worker's import",
  })) {
    test(`${name} that is sent ends a process that is in ${where}`, async (t) => {
      const { signal } = await equal(t, name, job)
      t.is(signal, name)
    })
  }

  test(`a program that listens to ${name} gets it, and WebAssembly's traps stay errors`, async (t) => {
    // V8's own traps need the handler that such a program has replaced, and never end then.
    const file = await moduleFile(t, MODULE)
    const { code, stdout } = await run(file, name, 'listening', ['--require', REGISTER])
    t.is(code, 0)
    t.regex(
      stdout,
      /^RuntimeError: divide by zero\nRuntimeError: unreachable\n(RuntimeError: memory access out of bounds\n){2}after\nheard SIG\w+\n$/
    )
    if (name !== 'SIGSEGV') await equal(t, name, 'listening')
  })

  test(`a program that no longer listens to ${name} is ended by it, and WebAssembly's traps stay errors`, async (t) => {
    const file = await moduleFile(t, MODULE)
    for (const job of ['unlistened', 'workerUnlistened']) {
      const { stdout, signal } = await run(file, name, job, ['--require', REGISTER])
      t.is(
        stdout.match(/^RuntimeError: divide by zero\nRuntimeError: unreachable\n(RuntimeError: memory access out of bounds\n){2}/gm)
          .length,
        2
      )
      t.is(signal, job === 'unlistened' ? name : null)
    }
  })
}

testLinux('the signal that ends loops of workers ends a process to which another sends it', async (t) => {
  // The last but four of the real-time signals; Node knows none of them. A shell adds 128 to the signal.
  const file = await moduleFile(t, MODULE)
  for (const flags of [[], ['--require', REGISTER]]) {
    const { stdout } = await run(file, '60', 'worker', flags, ['sh', '-c', '"$@"; echo $?', 'sh'])
    t.is(stdout, 'after\n188\n')
  }
})

test('a fault outside of WebAssembly ends the process', async (t) => {
  for (const job of ['overflow', 'overflowInside']) {
    const { signal } = await equal(t, 'SIGSEGV', job, ['--stack-size=1000000'])
    t.is(signal, 'SIGSEGV')
  }
})

test("the built-in engine's traps are errors beside this one's", async (t) => {
  const { code, stdout } = await equal(t, 'SIGSEGV', 'builtin')
  t.is(code, 0)
  t.is(stdout.match(/memory access out of bounds/g).length, 8)
})
