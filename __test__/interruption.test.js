'use strict'
// Whatever a thread does in WebAssembly, worker.terminate() and the end of the process end it, as with the built-in.

const { execFile } = require('node:child_process')
const path = require('node:path')
const { serial: test } = require('ava')
const { environment } = require('./support/commands.js')
const { count } = require('./support/stress.js')

const MANY = count(8, 20)

const CHILD = path.join(__dirname, 'children/interruption.js')

/** What the child said and how it ended. A thread that cannot be ended would keep it for ever. */
function run(job) {
  return new Promise((resolve, reject) => {
    const settings = { env: environment({}), timeout: 120_000, killSignal: 'SIGKILL' }
    execFile(process.execPath, [CHILD, JSON.stringify(job)], settings, (error, stdout, stderr) => {
      const { code = 0, signal = null, killed = false } = error ?? {}
      if (killed) reject(new Error(`it did not end: ${JSON.stringify(job)}\n${stdout}\n${stderr}`))
      else if (stdout === '') reject(new Error(`${signal ?? code}\n${stderr}`))
      else resolve({ ...JSON.parse(stdout), code, signal })
    })
  })
}

/** Runs the job on both engines; ours has to do what the built-in does. */
async function equal(t, job) {
  const ours = await run({ engine: 'ours', ...job })
  const builtin = await run({ ...job, engine: 'builtin' })
  if (job.tier !== 'cold') {
    t.true(
      ours.tiers.every((tier) => tier === job.tier),
      `${ours.tiers}`
    )
  }
  t.deepEqual({ ...ours, tiers: builtin.tiers }, builtin)
  return ours
}

const KINDS = {
  loop: 'a loop that does nothing',
  memory: 'a loop that reads and writes memory',
  calls: 'a loop that calls a function',
  import: 'a loop that calls an import',
  nested: 'a loop in WebAssembly that JavaScript called that WebAssembly called',
  start: 'a loop in a start function',
  size: 'a loop of memory.size',
  grow: 'a loop of memory.grow',
  fill: 'a loop of memory.fill',
  wait: 'memory.atomic.wait32 without a timeout',
  deep: 'a loop at the end of the stack',
}

for (const [kind, title] of Object.entries(KINDS)) {
  for (const tier of ['baseline', 'optimized']) {
    test(`terminate() ends ${title}, ${tier}; nothing runs behind the call`, async (t) => {
      const { codes, ran } = await equal(t, { kind, tier, end: 'terminate' })
      t.is(codes.length, 1)
      t.true(ran.every((one) => one === 0))
    })
  }
}

for (const tier of ['baseline', 'optimized']) {
  test(`terminate() ends a loop that is hardly ever outside memory.fill, ${tier}`, async (t) => {
    const told = await run({ engine: 'ours', kind: 'largeFill', tier, end: 'terminate' })
    t.deepEqual(told, { codes: [1], ran: [0], tiers: [tier], stores: 0, code: 0, signal: null })
  })
}

for (const end of ['exit', 'throw', 'signal']) {
  test(`a process that ends by ${end} takes threads that loop with it`, async (t) => {
    await equal(t, { kind: 'loop', tier: 'baseline', count: 2, end })
    await equal(t, { kind: 'memory', tier: 'optimized', count: 2, end })
  })
}

for (const end of ['terminate', 'exit']) {
  test(`a worker of a worker, both in a loop: ${end}`, async (t) => {
    await equal(t, { kind: 'loop', tier: 'baseline', nested: true, end })
  })

  test(`a parent that never loaded the package: ${end}`, async (t) => {
    await equal(t, { engine: 'worker', kind: 'loop', tier: 'optimized', end })
  })
}

test('a loop that began before the optimizing tier was done', async (t) => {
  await equal(t, { kind: 'calls', tier: 'cold', end: 'terminate' })
})

test('many workers at once, three times: all end, and nothing is left of them', async (t) => {
  const { codes, stores } = await equal(t, { kind: 'memory', tier: 'baseline', count: MANY, rounds: 3, end: 'terminate' })
  t.is(codes.length, 3 * MANY)
  t.is(stores, 0)
})
