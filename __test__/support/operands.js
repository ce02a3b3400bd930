'use strict'

// Functions around one operator each, for comparing two engines: its operands are locals, constants or computed, and
// other values lie below them on the operand stack, so that a compiler runs out of registers.
//
// A function takes its operands from the memory (a cell of eight bytes each) and returns one i64 that depends on the
// operator's result, on the values below and on the locals it used. No function has a float in its signature: those are
// for Cranelift in both tiers.

const assert = require('node:assert')
const { isDeepStrictEqual } = require('node:util')
const W = require('../../index.js')
const { assemble } = require('../children/modules.js')
const { ALIKE } = require('../spec/features.js')
const { isStress } = require('./stress.js')

const CELLS = 64 // the values below, after the operands' cells
const DATA = 256 // what memory operators work on

const builtin = globalThis.WebAssembly

const FORMS = ['local', 'constant', 'computed']

/** All ways to choose one of `choices` `length` times. */
const choose = (choices, length) =>
  length === 0 ? [[]] : choose(choices, length - 1).flatMap((some) => choices.map((one) => [...some, one]))

const BITS = {
  i32: (value) => `(i64.extend_i32_u ${value})`,
  i64: (value) => value,
  f32: (value) => `(i64.extend_i32_u (i32.reinterpret_f32 ${value}))`,
  f64: (value) => `(i64.reinterpret_f64 ${value})`,
}

const repeat = (number, type) => Array.from({ length: number }, () => type)

/** What lies below: none to seven of one type, or some of both. */
const INTEGERS = Array.from({ length: 8 }, (_, number) => repeat(number, 'i64'))
const FLOATS = Array.from({ length: 7 }, (_, number) => repeat(number + 1, 'f64'))
const MIXED = [
  ['f64', 'i64', 'f64', 'i64', 'f64', 'i64', 'f64'],
  [...repeat(6, 'i64'), ...repeat(6, 'f64')],
]

/**
 * @param {object} operator
 * @param {(...operands: string[]) => string} operator.text
 * @param {(...operands: string[]) => string} [operator.inBuiltin] what the built-in runs in its place
 * @param {string[]} operator.operands their types
 * @param {string} [operator.result] its type, if it has one that is a number
 * @param {boolean} [operator.anyNaN] whether the specification leaves a NaN's bits open
 * @param {string[]} constants the operands that are constants, by position
 */
function functionText(name, operator, text, forms, constants, below, crowded) {
  const { operands, result } = operator
  const used = operands.map((type, at) => ({ type, at })).filter(({ at }) => forms[at] === 'local')
  const locals = used.map(({ type, at }) => `(local $${at} ${type})`)
  const many = '(local i64 i64 i64 i64 i64 i64 i64 i64 i64 i64)'
  const cell = (type, at) => `(${type}.load (i32.const ${at * 8}))`
  const written = operands.map((type, at) => {
    if (forms[at] === 'local') return `(local.get $${at})`
    return forms[at] === 'constant' ? `(${type}.const ${constants[at]})` : cell(type, at)
  })
  const mix = (value) => `(i64.sub ${value} (i64.rotl (local.get $hash) (i64.const 7)))`
  return [
    `(func (export "${name}") (result i64) ${crowded ? many : ''} ${locals.join(' ')} (local $hash i64)`,
    result ? `(local $result ${result})` : '',
    ...used.map(({ type, at }) => `(local.set $${at} ${cell(type, at)})`),
    ...below.map((type, at) => `(${type}.load (i32.const ${CELLS + at * 8}))`),
    text(...written),
    result ? 'local.set $result' : '',
    operator.anyNaN
      ? `(if (${result}.ne (local.get $result) (local.get $result)) (then (local.set $result (${result}.const nan))))`
      : '',
    result ? `(local.set $hash ${BITS[result]('(local.get $result)')})` : '',
    ...used.map(({ type, at }) => `(local.set $hash ${mix(BITS[type](`(local.get $${at})`))})`),
    ...below.toReversed().map((type) => `${BITS[type]('')} (i64.rotl (local.get $hash) (i64.const 7)) i64.sub local.set $hash`),
    '(local.get $hash))',
  ].join(' ')
}

/** Of the combinations below one in so many is tried without stress; which, differs from operator to operator. */
const SPARSE = 5

/**
 * The functions of `operators`: each form of each operand with each stack below, in turn with few locals and with many.
 *
 * @returns {{ name: string, operator: object, right: string, ours: string }[]} `name` says which
 */
function variants(operators, { edges, stacks }) {
  const functions = []
  for (const [index, operator] of operators.entries()) {
    choose(FORMS, operator.operands.length).forEach((forms, form) =>
      stacks.forEach((below, stack) => {
        if (!isStress && (index + form * stacks.length + stack) % SPARSE !== 0) return
        const crowded = (form + stack) % 2 === 1
        const constants = operator.operands.map((type, at) => {
          const values = operator.values?.[at] ?? edges[type]
          return values[(form + stack * (at * 2 + 1)) % values.length]
        })
        const what = forms.map((given, at) => (given === 'constant' ? constants[at] : given))
        const name = `${operator.name} (${what.join(', ')}) above ${below.join(' ') || 'nothing'}${crowded ? ', many locals' : ''}`
        const [right, ours] = [operator.inBuiltin ?? operator.text, operator.text].map((text) =>
          functionText(String(functions.length), operator, text, forms, constants, below, crowded)
        )
        functions.push({ name, operator, right, ours })
      })
    )
  }
  return functions
}

const scratch = new DataView(new ArrayBuffer(8))

/** The bits of a constant as the text format writes it. */
function bits(type, text) {
  if (type === 'i64') return BigInt.asIntN(64, BigInt(text))
  if (type === 'i32') return BigInt.asUintN(32, BigInt(text))
  const [, sign, rest] = /^(-?)(.*)$/.exec(text)
  const nan = /^nan(?::(0x[0-9a-f]+))?$/.exec(rest)
  const wide = type === 'f64'
  if (nan) {
    const payload = BigInt(nan[1] ?? (wide ? 0x8000000000000n : 0x400000))
    return payload | (wide ? 0x7ff0000000000000n : 0x7f800000n) | (sign ? (wide ? 1n << 63n : 1n << 31n) : 0n)
  }
  const value = Number(sign + (rest === 'inf' ? 'Infinity' : rest))
  if (wide) scratch.setFloat64(0, value)
  else scratch.setFloat32(4, value)
  return wide ? scratch.getBigInt64(0) : BigInt(scratch.getUint32(4))
}

/** Operands that `operator` is called with: all its first operand's values, each with some of the others'. */
function rows(operator, edges) {
  const lists = operator.operands.map((type, at) => (operator.values?.[at] ?? edges[type]).map((text) => bits(type, text)))
  const number = lists.length < 2 ? (lists[0]?.length ?? 1) : 24
  // Steps that have no divisor in common with the lists' lengths would leave pairs out that meet in others.
  return Array.from({ length: number }, (_, row) =>
    lists.map((list, at) => list[(row * (at + 1) + ((row / list.length) | 0) * at) % list.length])
  )
}

const BELOW = [
  0x0123456789abcdefn,
  -1n,
  0x4009_21fb_5444_2d18n,
  0x7fff_ffff_ffff_ffffn,
  3n,
  -0x1234_5678n,
  0x3ff0_0000_0000_0001n,
  0x8000_0000n,
  0x4059_0000_0000_0000n,
  -99n,
  0x4000_0000_0000_0003n,
  12n,
]

/** What a call gives: its result, or its trap in words. */
function outcome(call) {
  try {
    return call()
  } catch (error) {
    const message = ALIKE.reduce((words, [ours, builtins]) => words.replace(ours, builtins), error.message)
    return `${error.constructor.name}: ${message}`
  }
}

/** The module in one of the engines, and its memory's bytes, which it may have grown. */
class Run {
  constructor(namespace, bytes, imports) {
    this.module = new namespace.Module(bytes, { optimize: false })
    const env = imports(namespace)
    this.memory = env.memory
    this.exports = new namespace.Instance(this.module, { env }).exports
  }

  get bytes() {
    if (this.seen?.buffer !== this.memory.buffer) this.seen = new Uint8Array(this.memory.buffer)
    return this.seen
  }

  write(at, values) {
    if (this.cells?.buffer !== this.memory.buffer) this.cells = new BigInt64Array(this.memory.buffer)
    this.cells.set(values, at / 8)
  }
}

/**
 * Runs all functions on the built-in and in our baseline, with the same memory before each.
 *
 * @param {string} rest of the module, without the functions
 * @param {(namespace: typeof WebAssembly) => object} imports `env.memory` among them
 * @param {(exports: object) => void} [prepare] is called before each function
 * @param {(exports: object) => unknown} [state] what is compared after each function, beside the memory
 */
async function differences(rest, functions, { edges, imports, prepare, state }) {
  const module = (which) => assemble(`(module ${rest} ${functions.map((one) => one[which]).join('\n')})`)
  const right = new Run(builtin, await module('right'), imports)
  const ours = new Run(W, await module('ours'), imports)
  assert.strictEqual(W.Module.tier(ours.module), 'baseline')

  function difference({ operator }, index) {
    for (const run of [right, ours]) {
      run.bytes.fill(0xa5, DATA)
      run.write(CELLS, BELOW)
      prepare?.(run.exports)
    }
    for (const operands of rows(operator, edges)) {
      const [expected, got] = [right, ours].map((run) => {
        run.write(0, operands)
        return outcome(run.exports[index])
      })
      if (expected !== got) return { operands, expected, got }
    }
    if (Buffer.compare(right.bytes, ours.bytes) !== 0) {
      const at = right.bytes.findIndex((byte, place) => byte !== ours.bytes[place])
      return { at, expected: right.bytes.slice(at, at + 8), got: ours.bytes.slice(at, at + 8) }
    }
    const [expected, got] = [right, ours].map(({ exports }) => state?.(exports))
    return isDeepStrictEqual(expected, got) ? null : { expected, got }
  }

  return functions.flatMap((one, index) => {
    const found = difference(one, index)
    return found === null ? [] : [{ name: one.name, ...found }]
  })
}

module.exports = { DATA, FLOATS, INTEGERS, MIXED, differences, variants }
