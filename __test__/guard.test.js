'use strict'
// Code without bounds checks must not run on a memory that has no guard regions behind it: it is refused, in words a
// person can act on, and the process goes on. Everywhere else it runs, whatever the process lacks.

const { execFile } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const { environment } = require('./support/commands.js')
const { remove } = require('./support/remove.js')

const FLAG = '--disable-wasm-trap-handler'
const WITH_MEMORY = [
  'own',
  'ownAsync',
  'ownBytes',
  'ownShared',
  'ownEmpty',
  'imported',
  'importedAsync',
  'importedBuiltin',
  'importedShared',
]

const cache = fs.mkdtempSync(path.join(os.tmpdir(), 'wasm-compile-cache-guard-'))
test.after.always(() => remove(cache))

const program = (how) => [path.join(__dirname, 'children/guard.js'), ...(how ? [how] : [])]

async function run(file, args) {
  const env = environment({ WASM_COMPILE_CACHE: cache, WASM_COMPILE_CACHE_FINISH: '0' })
  const { stdout } = await promisify(execFile)(file, args, { env })
  return JSON.parse(stdout)
}

const attempts = ({ flags = [], how } = {}) => run(process.execPath, [...flags, ...program(how)])

let without
let withoutButHandled
let ordinary
test.before(async () => {
  without = await attempts({ flags: [FLAG] })
  withoutButHandled = await attempts({ flags: [FLAG], how: 'handled' })
  ordinary = await attempts()
})

for (const name of WITH_MEMORY) {
  test(`without guard regions a memory is refused: ${name}`, (t) => {
    t.like(without[name], { isLinkError: true, name: 'LinkError', code: 'ERR_WASM_NO_GUARD_REGION' })
    t.deepEqual(withoutButHandled[name], without[name])
    t.regex(without[name].message, /^WebAssembly\.(?:Instance|instantiate)\(\): .*no guard region/)
    t.true(without[name].message.includes(FLAG), 'it says what to do')
    t.is(typeof ordinary[name].ran, 'number', 'with them it runs')
  })
}

test('the space of another memory is no guard region: of many memories side by side, none is accepted', (t) => {
  t.deepEqual([without.neighbours, withoutButHandled.neighbours, ordinary.neighbours], [0, 0, 1])
})

test('modules without a memory run, before and after a refusal', (t) => {
  for (const name of ['none', 'noneAgain']) t.deepEqual([without[name], ordinary[name]], [{ ran: 42 }, { ran: 42 }])
})

test('a trap is an error all the same', (t) => {
  t.is(without.trap.name, 'RuntimeError')
  t.deepEqual(without.trap, ordinary.trap)
})

test("a Memory by itself is V8's, and works", (t) => {
  t.deepEqual(
    [without.memory, ordinary.memory],
    [
      [1, 2],
      [1, 2],
    ]
  )
})

test("somebody else's handler in the place of Node's says nothing about guard regions, which are there", async (t) => {
  t.deepEqual(await attempts({ how: 'handled' }), ordinary)
})

if (process.platform === 'linux') {
  const unshare = process.getuid() === 0 ? ['--mount'] : ['--user', '--map-root-user', '--mount']

  test('without a descriptor that is left, instances come about', async (t) => {
    t.deepEqual(await run('sh', ['-c', 'ulimit -n 64 && exec "$0" "$@"', process.execPath, ...program('full')]), ordinary)
  })

  test('without /proc, instances come about', async (t) => {
    const script = 'mount -t tmpfs none /proc && exec "$0" "$@"'
    t.deepEqual(await run('unshare', [...unshare, 'sh', '-c', script, process.execPath, ...program()]), ordinary)
  })
}
