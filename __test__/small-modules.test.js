'use strict'
// Small modules by the thousand, as just-in-time compilers make them: what each costs the process is counted.

const { execFile } = require('node:child_process')
const path = require('node:path')
const { promisify } = require('node:util')
const test = require('ava')
const native = require('../binding.js')
const { assemble, variant } = require('./children/modules.js')
const { linux, until } = require('./support/processes.js')
const W = require('../index.js')

const COUNT = 50
const UNSTORED = { cache: false, optimize: false }

const onLinux = linux ? test : test.skip

onLinux('a small module takes a page of executable memory, and no other thread', async (t) => {
  const child = path.join(__dirname, 'children/small-modules.js')
  const { stdout } = await promisify(execFile)(process.execPath, [child, String(COUNT)])
  const { pages, threads, results } = JSON.parse(stdout)
  t.deepEqual(results, new Array(COUNT).fill(42))
  // V8's own pages may come and go; the trampolines of each module would be as many again as its bodies.
  t.true(pages >= COUNT && pages < 1.5 * COUNT, `${pages} pages`)
  t.is(threads, 0)
})

const square = assemble('(module (func (export "f") (param f64) (result f64) (f64.mul (local.get 0) (local.get 0))))')
const made = () => native.piecesOfCode()[1]

test.serial("a module is one piece of code, its trampolines are the process', and the same bytes are compiled once", async (t) => {
  const bytes = await square
  const first = new W.Module(variant(bytes, 'first'), UNSTORED)
  const before = made()
  const others = Array.from({ length: COUNT }, (_, k) => new W.Module(variant(bytes, `${k}`), UNSTORED))
  t.is(made() - before, COUNT)
  const same = Array.from({ length: COUNT }, () => new W.Module(variant(bytes, 'first'), UNSTORED))
  t.is(made() - before, COUNT)
  for (const module of [first, ...others, ...same]) t.is(new W.Instance(module).exports.f(3), 9)
})

test.serial('imports of one signature share their trampolines', async (t) => {
  const module = async (name) => {
    const bytes = await assemble(`(module
      (import "m" "a" (func $a (param f64 f64) (result i32)))
      (import "m" "b" (func $b (param f64 f64) (result i32)))
      (func (export "f") (param f64 f64) (result i32)
        (i32.sub (call $a (local.get 0) (local.get 1)) (call $b (local.get 0) (local.get 1)))))`)
    return new W.Module(variant(bytes, name), UNSTORED)
  }
  const imports = { m: { a: (x, y) => x * y, b: (x, y) => x + y } }
  t.is(new W.Instance(await module('one'), imports).exports.f(5, 7), 23)
  const before = made()
  t.is(new W.Instance(await module('another'), imports).exports.f(5, 7), 23)
  t.is(made() - before, 1)
})

test.serial("the optimizing tier's piece takes the place of the baseline's", async (t) => {
  const bytes = await square
  new W.Module(variant(bytes, 'trampolines'), UNSTORED)
  const [before] = native.piecesOfCode()
  const modules = Array.from({ length: COUNT }, (_, k) => new W.Module(variant(bytes, `optimized ${k}`), { cache: false }))
  const instances = modules.map((module) => new W.Instance(module))
  await Promise.all(modules.map((module) => W.Module.optimized(module)))
  for (const { exports } of instances) t.is(exports.f(3), 9)
  // The collector may take modules of the tests above meanwhile.
  await until(() => native.piecesOfCode()[0] <= before + COUNT, 'the baseline is given back')
  for (const { exports } of instances) t.is(exports.f(4), 16)
})
