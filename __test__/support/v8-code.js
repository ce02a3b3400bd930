'use strict'
// Programs that have V8's code of their modules, where it is kept.

const fs = require('node:fs')
const path = require('node:path')

const { SIZE, auto, shimFile, subject: withModule } = require('./auto.js')
const { folder } = require('./commands.js')
const { padded } = require('./wat.js')
const { assemble } = require('../children/modules.js')

/** The built-in engine for everything, and what it compiles is kept at once. */
const BUILTIN = { WASM_COMPILE_CACHE_ENGINE: 'builtin', WASM_COMPILE_CACHE_FINISH: 'now' }
const QUIET = { ...BUILTIN, WASM_COMPILE_CACHE_FINISH: '0' }

/** Before anything of a module was called, V8 has no code of it, unless it was given some. */
const PRELUDE = `
  const shim = require(${JSON.stringify(shimFile())})
  const codeOf = (module) => shim.serialize(module)?.byteLength ?? 0
  const imports = { env: { tick: (x) => x + 1 } }
  const bytes = fs.readFileSync(process.argv[1])`

const RUN = `${PRELUDE}
  const module = new WebAssembly.Module(bytes)
  const code = codeOf(module)
  const { exports } = new WebAssembly.Instance(module, imports)
  tell([code, exports.run(9), WebAssembly.Module.tier?.(module), Object.getPrototypeOf(module) === WebAssembly.Module.prototype])`

const run = (name, settings) => auto(RUN, { args: [name], ...settings })

/**
 * For as long as the tests of the caller's file run: files of two modules, of which this package's engine refuses one, in the
 * folder `root`; `kept` gives caches that have V8's code of one.
 */
function subject(test) {
  const { file, root } = withModule(test)
  const refused = path.join(root, 'refused.wasm')
  test.before(async () => {
    fs.writeFileSync(
      refused,
      padded(
        await assemble(`(module
          (func $next (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
          (func (export "run") (param i32) (result i32) (return_call $next (local.get 0))))`),
        SIZE
      )
    )
  })

  /** A cache that has V8's code of a module; its length. */
  async function kept(t, name = file, settings = {}) {
    const cache = folder(t)
    const first = await run(name, { cache, env: BUILTIN, ...settings })
    t.is(first.told[0], 0)
    t.deepEqual(first.seen, [])
    const [{ codes }] = first.verdicts
    const [[tag, { bytes, reason }]] = Object.entries(codes)
    t.true(bytes > 0, reason)
    return { cache, bytes, tag, told: first.told }
  }

  return { file, kept, refused, root }
}

module.exports = { BUILTIN, PRELUDE, QUIET, RUN, run, subject }
