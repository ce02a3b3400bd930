'use strict'
// Parts of a link group are freed while the group goes on: instances that share a table, functions of JavaScript's in it.

const { execFile } = require('node:child_process')
const path = require('node:path')
const test = require('ava')

const register = path.join(__dirname, '../register.js')

/** What the child prints, with this package or on the built-in engine. */
function run(scenario, { ours }) {
  const args = ['--expose-gc', ...(ours ? ['--require', register] : []), path.join(__dirname, 'children/units.js'), scenario]
  return new Promise((resolve, reject) => {
    execFile(process.execPath, args, { env: { ...process.env, WASM_DISABLE_COMPILE_CACHE: '1' } }, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.signal ?? error.code}\n${stderr}`, { cause: error }))
      else resolve(JSON.parse(stdout))
    })
  })
}

test('instances that nothing reaches are freed, with what they imported', async (t) => {
  // 64 are in the table, beside the one that has it.
  t.deepEqual(await run('dropped', { ours: true }), { sum: 501_500, collected: 936, instances: 65 })
})

test('so are functions of JavaScript that were in a table', async (t) => {
  t.deepEqual(await run('functions', { ours: true }), { sum: 500_500, collected: 1000 })
})

test('both are freed while WebAssembly runs', async (t) => {
  t.deepEqual(await run('inside', { ours: true }), { sum: 2_003_000 + 1000, few: true })
})

test('what drops itself while it runs goes on', async (t) => {
  const expected = await run('running', { ours: false })
  t.deepEqual(await run('running', { ours: true }), expected)
})

test('what only WebAssembly reaches stays, and stays itself', async (t) => {
  const expected = await run('reached', { ours: false })
  t.deepEqual(expected.marks, ['in a table', 'passed', 'by itself'])
  t.deepEqual(await run('reached', { ours: true }), expected)
})

test('a swap meets no import record of an instance that was freed', async (t) => {
  t.deepEqual(await run('swapped', { ours: true }), { result: 3, before: 2 })
})
