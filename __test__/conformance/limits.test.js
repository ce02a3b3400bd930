'use strict'
// Implementation-defined limits: what is at the limit compiles, what is beyond is a CompileError.
// https://webassembly.github.io/spec/js-api/#limits

const { check, throws } = require('../support/conformance.js')

const COMPILE = throws('CompileError')

const leb = (n) => {
  const bytes = []
  do {
    bytes.push((n & 127) | (n > 127 ? 128 : 0))
    n >>>= 7
  } while (n > 0)
  return Buffer.from(bytes)
}
const section = (id, count, ...items) => {
  const body = Buffer.concat([leb(count), ...items])
  return Buffer.concat([Buffer.of(id), leb(body.length), body])
}
const repeat = (count, ...bytes) => Buffer.alloc(count * bytes.length, Buffer.from(bytes))
const HEADER = Buffer.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0)
const build = (...sections) => Buffer.concat([HEADER, ...sections])

const TYPE = section(1, 1, Buffer.of(0x60, 0, 0))
const body = (...code) => {
  const bytes = Buffer.concat([...code, Buffer.of(0x0b)])
  return Buffer.concat([leb(bytes.length), bytes])
}
const one = (content) => build(TYPE, section(3, 1, Buffer.of(0)), section(10, 1, content))

const named = (count, name) => Buffer.concat(Array.from({ length: count }, (_, k) => name(k)))
const exportOf = (k) => {
  const name = Buffer.from(k.toString(36))
  return Buffer.concat([Buffer.of(name.length), name, Buffer.of(0, 0)])
}

// [limit, what, (count) => bytes, what both engines have resources for]
const LIMITS = [
  [1_000_000, 'types', (count) => build(section(1, count, repeat(count, 0x60, 0, 0)))],
  [
    1_000_000,
    'functions',
    (count) => build(TYPE, section(3, count, repeat(count, 0)), section(10, count, repeat(count, 2, 0, 0x0b))),
  ],
  [1_000_000, 'imports', (count) => build(section(2, count, repeat(count, 0, 0, 3, 0x7f, 0))), 100_000],
  [
    1_000_000,
    'exports',
    (count) =>
      build(TYPE, section(3, 1, Buffer.of(0)), section(7, count, named(count, exportOf)), section(10, 1, Buffer.of(2, 0, 0x0b))),
    100_000,
  ],
  [1_000_000, 'globals', (count) => build(section(6, count, repeat(count, 0x7f, 0, 0x41, 0, 0x0b)))],
  [100_000, 'data segments', (count) => build(section(5, 1, Buffer.of(0, 1)), section(11, count, repeat(count, 1, 0)))],
  [100_000, 'tables', (count) => build(section(4, count, repeat(count, 0x70, 0, 0))), 100],
  [65_536, 'pages of a memory', (count) => build(section(5, 1, Buffer.of(0), leb(count)))],
  [65_536, 'maximum pages of a memory', (count) => build(section(5, 1, Buffer.of(1, 0), leb(count)))],
  [1000, 'parameters', (count) => build(section(1, 1, Buffer.of(0x60), leb(count), repeat(count, 0x7f), Buffer.of(0)))],
  [1000, 'results', (count) => build(section(1, 1, Buffer.of(0x60, 0), leb(count), repeat(count, 0x7f)))],
  [7_654_321, 'bytes of a function body', (count) => one(body(Buffer.of(0), repeat(count - 2, 1)))],
  [50_000, 'locals', (count) => one(body(Buffer.of(1), leb(count), Buffer.of(0x7f)))],
]

for (const [limit, what, bytes, most = limit] of LIMITS) {
  check(`limits: ${most} ${what}`, (W) => W.validate(bytes(most)), true)

  check(
    `limits: more than ${limit} ${what}`,
    (W, { all }) => {
      const beyond = bytes(limit + 1)
      return all({ validate: () => W.validate(beyond), module: () => new W.Module(beyond) })
    },
    { validate: false, module: COMPILE },
    { messages: false }
  )
}

check(
  'limits: parameters count among the locals',
  (W, { each }) => {
    const module = (params, locals) =>
      build(
        section(1, 1, Buffer.of(0x60), leb(params), repeat(params, 0x7f), Buffer.of(0)),
        section(3, 1, Buffer.of(0)),
        section(10, 1, body(Buffer.of(1), leb(locals), Buffer.of(0x7f)))
      )
    return each(
      [
        [1000, 49_000],
        [1000, 49_001],
        [1, 49_999],
        [1, 50_000],
      ],
      ([params, locals]) => W.validate(module(params, locals))
    )
  },
  [true, false, true, false]
)

check(
  'limits: parameters and results of a block',
  (W, { each }) =>
    each([1000, 1001], (count) => {
      const block = build(
        section(1, 2, Buffer.of(0x60, 0, 0), Buffer.of(0x60, 0), leb(count), repeat(count, 0x7f)),
        section(3, 1, Buffer.of(0)),
        section(10, 1, body(Buffer.of(0), Buffer.of(0x02, 1), repeat(count, 0x41, 0), Buffer.of(0x0b), repeat(count, 0x1a)))
      )
      return W.validate(block)
    }),
  [true, false]
)

check(
  'limits at run time: a table of 10,000,000 elements grows no more',
  (W, { all, link }) => {
    const { t, grow } = link(
      '(table (export "t") 0 funcref) (func (export "grow") (param i32) (result i32) ref.null func local.get 0 table.grow 0)'
    )
    return all({
      beyond: () => t.grow(10_000_001),
      wasm: () => grow(10_000_001),
      length: () => t.length,
      made: () => new W.Table({ element: 'anyfunc', initial: 10_000_001 }),
    })
  },
  { beyond: throws('RangeError'), wasm: -1, length: 0, made: throws('RangeError') }
)

check(
  'limits at run time: a memory of 65,536 pages grows no more',
  (W, { all, link }) => {
    const { m, grow } = link('(memory (export "m") 1) (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)')
    return all({ beyond: () => m.grow(65_536), wasm: () => grow(65_536), length: () => m.buffer.byteLength })
  },
  { beyond: throws('RangeError'), wasm: -1, length: 65_536 }
)
