'use strict'
// node interruption.js <job in JSON>: worker threads get into WebAssembly that never returns, and then the job's end comes.
//
// kind      what they run, see KINDS
// tier      'baseline', 'optimized', or 'cold': the optimizing tier is at work meanwhile
// engine    'builtin', 'ours', or 'worker': ours, but only the workers load it
// count     workers at a time; rounds: how often. One after the other, 1 and 1 by default
// nested    a worker of a worker
// end       'terminate', 'exit', 'throw', 'signal'
//
// Prints {codes, ran, tiers, stores}: the workers' exit codes, whether anything behind the endless call ran, the tiers
// their modules had, and how many of our stores are left.

const { once } = require('node:events')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const { assemble, variant } = require('./modules.js')

const PAGES = 1024

// Each says that it is inside by itself, in the shared memory, because what is said by JavaScript may be said too early.
const module_ = (text) => `(module
  (import "env" "memory" (memory ${PAGES} ${PAGES} shared))
  (import "env" "f" (func $f))
  (func $inside (i32.store (i32.const 0) (i32.const 1)))
  ${text})`
const KINDS = {
  loop: '(func (export "run") (call $inside) (loop (br 0)))',
  memory: `(func (export "run") (call $inside)
    (loop (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1))) (br 0)))`,
  calls:
    '(func $g (param i32) (result i32) (local.get 0)) (func (export "run") (call $inside) (loop (drop (call $g (i32.const 1))) (br 0)))',
  import: '(func (export "run") (call $inside) (loop (call $f) (br 0)))',
  nested: '(func (export "run") (call $f)) (func (export "again") (call $inside) (loop (br 0)))',
  start: '(func $run (call $inside) (loop (br 0))) (start $run)',
  size: '(func (export "run") (call $inside) (loop (drop (memory.size)) (br 0)))',
  grow: '(func (export "run") (call $inside) (loop (drop (memory.grow (i32.const 0))) (br 0)))',
  fill: '(func (export "run") (call $inside) (loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 65536)) (br 0)))',
  // Node 20's built-in is itself caught in this one.
  largeFill:
    '(func (export "run") (call $inside) (loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0x3ff0000)) (br 0)))',
  wait: '(func (export "run") (call $inside) (drop (memory.atomic.wait32 (i32.const 16) (i32.const 0) (i64.const -1))))',
  deep: `(func $dive (export "dive") (param $depth i32) (param $stay i32)
      (if (local.get $depth)
        (then (call $dive (i32.sub (local.get $depth) (i32.const 1)) (local.get $stay)))
        (else (if (local.get $stay) (then (i32.store (i32.const 0) (i32.const 1)) (loop (br 0)))))))
    (func (export "run"))`,
}

/** The deepest recursion that still returns. */
function deepest(dive) {
  const fits = (depth) => {
    try {
      dive(depth, 0)
      return true
    } catch {
      return false
    }
  }
  let [low, high] = [0, 1]
  while (fits(high)) [low, high] = [high, 2 * high]
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (fits(middle)) low = middle
    else high = middle
  }
  return low
}

async function work({ bytes, kind, tier, engine, nested }) {
  const W = engine === 'builtin' ? WebAssembly : require('../../index.js')
  const module = await W.compile(bytes, tier === 'baseline' ? { optimize: false } : undefined)
  if (engine !== 'builtin' && tier === 'optimized') await W.Module.optimized(module)
  const memory = new W.Memory({ initial: PAGES, maximum: PAGES, shared: true })
  const words = new Int32Array(memory.buffer)
  const inner = nested ? await started({ bytes, kind, tier, engine }) : undefined
  parentPort.postMessage([{ words, tier: W.Module.tier?.(module) }, ...(inner?.said ?? [])])
  const again = () => {
    exports.again()
    words[1] = 1
  }
  const { exports } = new W.Instance(module, { env: { memory, f: kind === 'nested' ? again : () => {} } })
  // The built-in's frames get smaller while it runs, ours have the stack to themselves.
  if (kind === 'deep') exports.dive(deepest(exports.dive) - (engine === 'builtin' ? 100 : 0), 1)
  exports.run()
  words[1] = 1
}

/** A worker that has said what there is to know of it and those below it, and is inside with all of them. */
async function started(data) {
  const worker = new Worker(__filename, { workerData: data })
  const exit = once(worker, 'exit')
  const [said] = await once(worker, 'message')
  for (const { words } of said) {
    while (Atomics.load(words, 0) === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return { worker, exit, said }
}

async function main({ kind, tier, engine, count = 1, rounds = 1, nested, end }) {
  const native = engine === 'ours' ? require('../../dist/engine.js').load('process/native.js').native : undefined
  const bytes = variant(await assemble(module_(KINDS[kind])), `${kind} ${tier}`)
  const told = { codes: [], ran: [], tiers: [] }
  for (let round = 0; round < rounds; round++) {
    const all = await Promise.all(Array.from({ length: count }, () => started({ bytes, kind, tier, engine, nested })))
    const said = all.flatMap((one) => one.said)
    told.tiers.push(...said.map((one) => one.tier))
    if (end !== 'terminate') continue
    await Promise.all(all.map(({ worker }) => worker.terminate()))
    for (const { exit } of all) told.codes.push(...(await exit))
    told.ran.push(...said.map(({ words }) => words[1]))
  }
  // Workers that are alive still have theirs.
  if (end === 'terminate') told.stores = native?.liveStores() ?? 0
  // Written before an end that does not wait for it.
  require('node:fs').writeSync(1, JSON.stringify(told))
  if (end === 'exit') process.exit(7)
  if (end === 'throw') throw new Error('meant to be thrown')
  if (end === 'signal') process.kill(process.pid, 'SIGTERM')
}

if (isMainThread) main(JSON.parse(process.argv[2]))
else work(workerData)
