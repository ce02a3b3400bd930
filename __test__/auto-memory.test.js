'use strict'
// The judge, and what is left for it, where memory is limited: a program runs as it does without this package, and its modules
// become known where there is room.

const fs = require('node:fs')
const test = require('ava')

const { JUDGED, LATER, TAKE, auto, read } = require('./support/auto.js')
const { folder } = require('./support/commands.js')
const { memoryGroup } = require('./support/limits.js')
const { linux } = require('./support/processes.js')

test('memory is limited on Linux', (t) => {
  if (!linux) t.log(`not on ${process.platform}`)
  t.is(linux, process.platform === 'linux')
})

const MIB = 2 ** 20

/** A program that compiles a real module in a container of that size, some times in a row; what became of it. */
async function contained(t, bytes, wasm) {
  const group = memoryGroup(t, bytes)
  if (group === undefined) {
    t.log('no control group can be made here')
    t.pass()
    return undefined
  }
  const cache = folder(t)
  const runs = []
  for (let count = 0; count < 3; count++) {
    runs.push(
      await auto(`const module = new WebAssembly.Module(${read(wasm)}); tell(WebAssembly.Module.exports(module).length)`, {
        cache,
        env: JUDGED,
        group,
      })
    )
  }
  t.true(runs.every(({ told }) => told === runs[0].told))
  return { cache, ...runs.at(-1) }
}

if (linux) {
  test('in a small container nothing is left behind that would not fit, and the program runs', async (t) => {
    const found = await contained(t, 150 * MIB, require.resolve('esbuild-wasm/esbuild.wasm'))
    if (found === undefined) return
    t.deepEqual(found.seen, [])
    t.like(found.verdicts, [{ engine: 'builtin', basis: 'memory' }])
    t.regex(found.verdicts[0].reason, /^compiling it takes some \d+ MB of memory, and \d+ MB are free$/)
  })

  // The second needs most of what there is.
  for (const [limit, request] of [
    [256, 'sql.js/dist/sql-wasm.wasm'],
    [208, '@resvg/resvg-wasm/index_bg.wasm'],
  ]) {
    test(`where there is room in it, the artifact appears: ${request} in ${limit} MiB`, async (t) => {
      const found = await contained(t, limit * MIB, require.resolve(request))
      if (found === undefined) return
      t.is(fs.readdirSync(found.cache, { recursive: true }).filter((name) => name.endsWith('.cwasm')).length, 1)
    })
  }
}

if (linux) {
  test('nothing is judged beside a program that has taken the memory meanwhile, nor left by the next run', async (t) => {
    const group = memoryGroup(t, 400 * MIB)
    if (group === undefined) return t.pass()
    const cache = folder(t)
    const compile = `new WebAssembly.Module(${read(require.resolve('@resvg/resvg-wasm/index_bg.wasm'))})`
    const code = `
      ${LATER}${TAKE}
      const processes = require('node:child_process')
      let started = 0
      processes.spawn = () => { started++ }
      ${compile}
      take(${100 * MIB})
      later()
      tell(started)`
    const first = await auto(code, { cache, env: JUDGED, group })
    t.deepEqual([first.told, first.seen], [0, []])
    t.like(first.verdicts, [{ engine: 'builtin', basis: 'memory' }])
    const second = await auto(`${compile}; tell(0)`, { cache, env: JUDGED, group })
    t.deepEqual([second.verdicts, second.seen], [first.verdicts, []])
  })

  // By itself: it looks at a process that does not take long.
  test.serial('a judge gives up before others lack the memory that it has', async (t) => {
    const group = memoryGroup(t, 1000 * MIB)
    if (group === undefined) return t.pass()
    const cache = folder(t)
    const code = `
      ${LATER}${TAKE}
      const processes = require('node:child_process')
      const { spawn } = processes
      let child
      processes.spawn = (...list) => (child = spawn(...list))
      new WebAssembly.Module(${read(require.resolve('esbuild-wasm/esbuild.wasm'))})
      later()
      child.on('exit', () => { clearInterval(timer); tell(taken.length > 0) })
      // Once it is at work.
      const timer = setInterval(() => {
        const status = fs.readFileSync('/proc/' + child.pid + '/status', 'utf8')
        if (Number(/^VmRSS:\\s*(\\d+) kB/m.exec(status)?.[1]) > 150 * 1024) take(${40 * MIB})
      }, 5)
      child.ref()`
    const { told, seen: left, verdicts: found } = await auto(code, { cache, env: JUDGED, group })
    t.deepEqual([told, left], [true, []])
    t.like(found, [{ engine: 'builtin', basis: 'memory' }])
  })
}
