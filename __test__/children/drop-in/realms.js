'use strict'
// node realms.js <module>: objects of a vm context in this realm, and the package loaded inside a context. Prints what
// happened with the built-in and with the package, in JSON.

const fs = require('node:fs')
const path = require('node:path')
const vm = require('node:vm')
const { createRequire } = require('node:module')

const { caught, outcome } = require('./outcome.js')

const bytes = new Uint8Array(fs.readFileSync(process.argv[2]))
const PACKAGE = path.join(__dirname, '../../..')

/** Everything that is given to `W` is another realm's. */
async function foreign(W) {
  const context = vm.createContext({ logged: [] })
  const make = (code) => vm.runInContext(code, context)
  const view = make(`new Uint8Array(${bytes.length})`)
  view.set(bytes)
  const memory = make('new WebAssembly.Memory({ initial: 1, maximum: 4 })')
  const imports = make('({ env: { log: (x) => logged.push(x) } })')
  imports.env.memory = memory
  const module = await W.compile(view)
  const { exports } = new W.Instance(new W.Module(view.buffer), imports)
  const results = [String(exports.run(5)), String((await W.instantiate(module, imports)).exports.run(6))]
  imports.env.log = make('() => { throw new RangeError("from the other realm") }')
  const thrown = caught(() => new W.Instance(module, imports).exports.run(1))
  const descriptors = [
    new W.Memory(make('({ initial: 1 })')).buffer.byteLength,
    new W.Table(make('({ element: "anyfunc", initial: 3 })')).length,
    new W.Global(make('({ value: "i32", mutable: true })'), 4).value,
    new W.Tag(make('({ parameters: ["i32"] })')) instanceof W.Tag,
  ]
  return {
    results,
    logged: [...context.logged],
    size: memory.buffer.byteLength,
    isTheirBuffer: memory.buffer instanceof make('ArrayBuffer'),
    thrown,
    descriptors,
    refused: [caught(() => W.validate(make('({})'))), caught(() => new W.Instance(module, make('({ env: 1 })')))],
  }
}

/** The package's JavaScript evaluated inside a context, as a test runner does it. */
function loadInside(context) {
  const cache = new Map()
  const load = (file) => {
    if (!file.endsWith('.js') || !file.startsWith(PACKAGE)) return require(file)
    if (!cache.has(file)) {
      const module = { exports: {} }
      cache.set(file, module)
      const inner = createRequire(file)
      const wrapped = vm.runInContext(
        `(function (exports, require, module, __filename, __dirname) {${fs.readFileSync(file, 'utf8')}\n})`,
        context,
        { filename: file }
      )
      wrapped(module.exports, (name) => load(inner.resolve(name)), module, file, path.dirname(file))
    }
    return cache.get(file).exports
  }
  return load(path.join(PACKAGE, 'index.js'))
}

/** What the program gives that runs inside the context. */
async function inside(replace) {
  const context = vm.createContext({
    process,
    performance,
    console,
    queueMicrotask,
    setTimeout,
    URL,
    TextDecoder,
    Buffer,
    input: bytes,
  })
  const copy = replace ? loadInside(context) : undefined
  copy?.install()
  const source = fs.readFileSync(require.resolve('./outcome.js'), 'utf8')
  const run = vm.runInContext(`(function (module) {${source}\nreturn outcome(WebAssembly, new Uint8Array(input)) })`, context)
  const seen = await run({})
  const [errors, buffers] = await vm.runInContext(
    `(async () => {
    const refused = await WebAssembly.compile(new Uint8Array(4)).catch((error) => error)
    const memory = new WebAssembly.Memory({ initial: 1 })
    return [
      [refused instanceof WebAssembly.CompileError, refused instanceof Error],
      [memory.buffer instanceof ArrayBuffer, memory instanceof WebAssembly.Memory],
    ]
  })()`,
    context
  )
  copy?.uninstall()
  return { seen, errors, buffers, left: vm.runInContext('WebAssembly.Module.tier === undefined', context) }
}

async function main() {
  const builtin = WebAssembly
  const told = { builtin: { foreign: await foreign(builtin), inside: await inside(false) } }
  const W = require(PACKAGE)
  told.ours = { foreign: await foreign(W), inside: await inside(true) }
  // Each realm goes on, with the other loaded.
  told.after = { ours: await outcome(W, bytes), builtin: await outcome(builtin, bytes), untouched: WebAssembly === builtin }
  console.log(JSON.stringify(told))
}

main()
