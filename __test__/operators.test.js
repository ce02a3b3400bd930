'use strict'
// The operators that Singlepass compiles do in the baseline tier what they do in the built-in, whatever their operands are
// and however full the operand stack is.

const test = require('ava')
const { DATA, FLOATS, INTEGERS, MIXED, differences, variants } = require('./support/operands.js')

const edges = {
  i32: [
    '0',
    '1',
    '-1',
    '2',
    '7',
    '31',
    '32',
    '33',
    '-7',
    '255',
    '0xff80',
    '0x8000',
    '0x12345678',
    '0x7fffffff',
    '0x80000000',
    '0xfffffff',
  ],
  i64: [
    '0',
    '1',
    '-1',
    '2',
    '7',
    '63',
    '64',
    '65',
    '-7',
    '0x80',
    '0xffff8000',
    '0x80000000',
    '0x100000000',
    '0xfedcba9876543210',
    '0x7fffffffffffffff',
    '0x8000000000000000',
  ],
  // Between and at the limits of both widths and signs, halves, subnormal numbers, and NaNs of both kinds.
  f32: [
    '0',
    '-0',
    '1',
    '-1',
    '0.5',
    '-0.5',
    '1.5',
    '2.5',
    '-2.5',
    '0x1.fffffep-2',
    '1e-45',
    '-1.1754942e-38',
    '3.4028234e38',
    '2147483648',
    '-2147483648',
    '4294967296',
    '4294967040',
    '9223372036854775807',
    '-9223372036854775808',
    '18446744073709551615',
    '-0.99',
    '8388609',
    'inf',
    '-inf',
    'nan',
    '-nan',
    'nan:0x200001',
  ],
  f64: [
    '0',
    '-0',
    '1',
    '-1',
    '0.5',
    '-0.5',
    '1.5',
    '2.5',
    '-2.5',
    '0x1.fffffffffffffp-2',
    '5e-324',
    '-2.225e-308',
    '1.7976931348623157e308',
    '2147483647',
    '2147483647.5',
    '-2147483648.9',
    '-2147483649',
    '4294967295.5',
    '4294967296',
    '9223372036854775807',
    '9223372036854774784',
    '-9223372036854775808',
    '-9223372036854777856',
    '18446744073709551615',
    '18446744073709549568',
    '-0.99',
    '4503599627370497.5',
    '1e-46',
    '3.5e38',
    'inf',
    '-inf',
    'nan',
    '-nan',
    'nan:0x4000000000001',
  ],
}

const words = (list) => list.trim().split(/\s+/)
const operator = (name, operands, result, more) => ({
  name,
  operands,
  result,
  text: (...values) => `(${name} ${values.join(' ')})`,
  ...more,
})

const INTEGER_BINARY = words('add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr')
const INTEGER_COMPARISONS = words('eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u')
const FLOAT_COMPARISONS = words('eq ne lt gt le ge')

const integers = (type) => [
  ...INTEGER_BINARY.map((name) => operator(`${type}.${name}`, [type, type], type)),
  ...INTEGER_COMPARISONS.map((name) => operator(`${type}.${name}`, [type, type], 'i32')),
  ...words('clz ctz popcnt extend8_s extend16_s').map((name) => operator(`${type}.${name}`, [type], type)),
  operator(`${type}.eqz`, [type], 'i32'),
]

const floats = (type) => [
  ...words('add sub mul div min max').map((name) => operator(`${type}.${name}`, [type, type], type, { anyNaN: true })),
  operator(`${type}.copysign`, [type, type], type),
  ...FLOAT_COMPARISONS.map((name) => operator(`${type}.${name}`, [type, type], 'i32')),
  ...words('ceil floor trunc nearest sqrt').map((name) => operator(`${type}.${name}`, [type], type, { anyNaN: true })),
  ...words('abs neg').map((name) => operator(`${type}.${name}`, [type], type)),
]

function conversions() {
  const made = [
    operator('i64.extend32_s', ['i64'], 'i64'),
    operator('i32.wrap_i64', ['i64'], 'i32'),
    operator('i32.reinterpret_f32', ['f32'], 'i32'),
    operator('i64.reinterpret_f64', ['f64'], 'i64'),
    operator('f32.reinterpret_i32', ['i32'], 'f32'),
    operator('f64.reinterpret_i64', ['i64'], 'f64'),
    operator('f32.demote_f64', ['f64'], 'f32', { anyNaN: true }),
    operator('f64.promote_f32', ['f32'], 'f64', { anyNaN: true }),
  ]
  for (const sign of ['s', 'u']) {
    made.push(operator(`i64.extend_i32_${sign}`, ['i32'], 'i64'))
    for (const integer of ['i32', 'i64']) {
      for (const float of ['f32', 'f64']) {
        made.push(operator(`${integer}.trunc_${float}_${sign}`, [float], integer))
        made.push(operator(`${integer}.trunc_sat_${float}_${sign}`, [float], integer))
        made.push(operator(`${float}.convert_${integer}_${sign}`, [integer], float))
      }
    }
  }
  return made
}

// The page's first bytes hold the operands. Aligned and not, the last one that fits and the first that does not.
const ADDRESSES = [DATA, DATA + 1, DATA + 7, 4096, 65_528, 65_529, 65_532, 65_534, 65_535, 65_536, -1, -8].map(String)

function accesses() {
  const made = []
  const WIDTHS = { i32: words('8_s 8_u 16_s 16_u'), i64: words('8_s 8_u 16_s 16_u 32_s 32_u'), f32: [], f64: [] }
  for (const [type, narrow] of Object.entries(WIDTHS)) {
    for (const offset of ['', ' offset=3', ' offset=65528']) {
      for (const width of ['', ...narrow]) {
        made.push(operator(`${type}.load${width}${offset} align=1`, ['i32'], type, { values: [ADDRESSES] }))
      }
      for (const width of ['', ...new Set(narrow.map((one) => one.split('_')[0]))]) {
        made.push(operator(`${type}.store${width}${offset} align=1`, ['i32', type], undefined, { values: [ADDRESSES] }))
      }
    }
  }
  return made
}

const CONDITIONS = ['0', '1', '-1', '0x80000000']
const TYPES = ['i32', 'i64', 'f32', 'f64']

function control() {
  const made = TYPES.flatMap((type) => [
    operator(`select ${type}`, [type, type, 'i32'], type, {
      text: (...values) => `(select ${values.join(' ')})`,
      values: [undefined, undefined, CONDITIONS],
    }),
    operator(`typed select ${type}`, [type, type, 'i32'], type, {
      text: (...values) => `(select (result ${type}) ${values.join(' ')})`,
      values: [undefined, undefined, CONDITIONS],
    }),
    operator(`local.tee ${type}`, [type], type, { text: (value) => `(local.tee $result ${value})` }),
    operator(`global ${type}`, [type], type, { text: (value) => `(global.set $${type} ${value}) (global.get $${type})` }),
    operator(`if ${type}`, [type, type, 'i32'], type, {
      text: (yes, no, condition) => `(if (result ${type}) ${condition} (then ${yes}) (else ${no}))`,
      values: [undefined, undefined, CONDITIONS],
    }),
    operator(`br_if ${type}`, [type, 'i32', type], type, {
      text: (value, condition, other) => `(block (result ${type}) (drop (br_if 0 ${value} ${condition})) ${other})`,
      values: [undefined, CONDITIONS, undefined],
    }),
    operator(`br_table ${type}`, [type, 'i32', type], type, {
      text: (value, index, other) => `(block $out (result ${type})
        (block $two (result ${type}) (block $one (result ${type}) (block $none (result ${type})
          (br_table $none $one $two $one $out ${value} ${index})) drop ${other} br $out) drop ${other} br $out))`,
      values: [undefined, ['0', '1', '2', '3', '4', '5', '-1', '0x80000000'], undefined],
    }),
    operator(`call ${type}`, [type, type], type, { text: (...values) => `(call $second_${type} ${values.join(' ')})` }),
    operator(`call_indirect ${type}`, [type, type, 'i32'], type, {
      text: (...values) => `(call_indirect $functions (param ${type} ${type}) (result ${type}) ${values.join(' ')})`,
      values: [undefined, undefined, ['0', '1', '2', '3', '4', '5', '-1']],
    }),
  ])
  return made
}

const CALLED = `
  (table $functions 5 5 funcref) (elem (table $functions) (i32.const 0) func ${TYPES.map((type) => `$second_${type}`).join(' ')})
  ${TYPES.map(
    (type) => `(global $${type} (mut ${type}) (${type}.const 0))
    (func $second_${type} (param ${type} ${type}) (result ${type}) (local.get 1))`
  ).join('\n')}`

const PLACES = [DATA, DATA + 5, 4096, 65_500, 65_535, 65_536, 65_537, -1].map(String)
const LENGTHS = ['0', '1', '3', '8', '36', '200', '65536', '-1']

function bulk() {
  const three = ['i32', 'i32', 'i32']
  return [
    operator('memory.size', [], 'i32'),
    operator('memory.copy', three, undefined, { values: [PLACES, PLACES, LENGTHS] }),
    operator('memory.fill', three, undefined, { values: [PLACES, ['0', '1', '-1', '0x1234'], LENGTHS] }),
    operator('memory.init $data', three, undefined, { values: [PLACES, ['0', '1', '30', '36', '37', '-1'], LENGTHS] }),
    operator('memory.grow', ['i32'], 'i32', { values: [['0', '1', '3', '-1', '0x10000', '0x80000000']] }),
  ]
}

const INDICES = ['0', '1', '3', '7', '8', '9', '-1']

function tables() {
  const made = []
  for (const [table, type] of [
    ['hosts', 'externref'],
    ['functions', 'funcref'],
  ]) {
    const other = `(table.get $${table}_kept (i32.const 1))`
    const call = (name, ...values) => `(${name} $${table} ${values.join(' ')})`
    const add = (name, operands, text, result, values) => made.push(operator(`${name} ${type}`, operands, result, { text, values }))
    add('table.get', ['i32'], (at) => `(ref.is_null ${call('table.get', at)})`, 'i32', [INDICES])
    add('table.get and set', ['i32', 'i32'], (to, from) => call('table.set', to, call('table.get', from)), undefined, [
      INDICES,
      INDICES,
    ])
    add('table.set', ['i32'], (at) => call('table.set', at, other), undefined, [INDICES])
    add('ref.null', ['i32'], (at) => call('table.set', at, `(ref.null ${type === 'externref' ? 'extern' : 'func'})`), undefined, [
      INDICES,
    ])
    add('table.size', [], () => call('table.size'), 'i32')
    add('table.grow', ['i32'], (by) => call('table.grow', other, by), 'i32', [['0', '1', '2', '-1', '9']])
    add('table.fill', ['i32', 'i32'], (at, number) => call('table.fill', at, other, number), undefined, [INDICES, INDICES])
    const ranges = [INDICES, INDICES, INDICES]
    add(
      'table.copy',
      ['i32', 'i32', 'i32'],
      (...range) => `(table.copy $${table} $${table}_kept ${range.join(' ')})`,
      undefined,
      ranges
    )
    add(
      'typed select',
      ['i32', 'i32'],
      (at, which) => call('table.set', at, `(select (result ${type}) ${other} ${call('table.get', '(i32.const 2)')} ${which})`),
      undefined,
      [INDICES, CONDITIONS]
    )
  }
  made.push(
    operator('table.init', ['i32', 'i32', 'i32'], undefined, {
      text: (...range) => `(table.init $functions $elements ${range.join(' ')})`,
      values: [INDICES, INDICES, INDICES],
    })
  )
  return made
}

const memory = ({ Memory }) => ({ memory: new Memory({ initial: 1, maximum: 3 }) })
const MEMORY = '(import "env" "memory" (memory 1 3))'

async function same(t, rest, operators, { stacks, ...more }) {
  const functions = variants(operators, { edges, stacks })
  t.log(`${functions.length} functions`)
  t.deepEqual((await differences(rest, functions, { edges, imports: memory, ...more })).slice(0, 10), [])
}

for (const type of ['i32', 'i64']) {
  test(`${type}'s operators`, (t) => same(t, MEMORY, integers(type), { stacks: [...INTEGERS, ...MIXED] }))
}

for (const type of ['f32', 'f64']) {
  test(`${type}'s operators`, (t) => same(t, MEMORY, floats(type), { stacks: [...FLOATS, ...INTEGERS, ...MIXED] }))
}

test('conversions', (t) => same(t, MEMORY, conversions(), { stacks: [...FLOATS, ...INTEGERS, ...MIXED] }))

test('loads and stores', (t) => same(t, MEMORY, accesses(), { stacks: [...INTEGERS, ...MIXED] }))

test('select, branches, calls, locals and globals', (t) =>
  same(t, `${MEMORY} ${CALLED}`, control(), { stacks: [...INTEGERS, ...MIXED] }))

test('memory.size, grow, copy, fill and init', (t) =>
  same(t, `${MEMORY} (data $data "thirty-six bytes, for memory.init alone")`, bulk(), { stacks: [...INTEGERS, ...MIXED] }))

const TABLES = `
  (table $hosts (export "hosts") 8 11 externref) (table $hosts_kept (export "hosts_kept") 8 externref)
  (table $functions (export "functions") 8 11 funcref) (table $functions_kept (export "functions_kept") 8 funcref)
  (func $a) (func $b) (func $c) (elem (table $functions_kept) (i32.const 0) func $a $b $c $a $c)
  (elem $elements func $c $b $a $c $b $a)`

/** The same contents of the tables before each function; what was grown stays. */
function fill({ hosts, hosts_kept, functions, functions_kept }) {
  for (let at = 0; at < 8; at++) {
    hosts_kept.set(at, `kept ${at}`)
    hosts.set(at, at % 3 === 0 ? null : at)
    functions.set(at, at % 3 === 0 ? null : functions_kept.get(at % 3))
  }
}

const contents = (table, name) => Array.from({ length: table.length }, (_, at) => name(table.get(at)))

test('tables and references', (t) =>
  same(t, `${MEMORY} ${TABLES}`, tables(), {
    stacks: [...INTEGERS, ...MIXED],
    prepare: fill,
    // An exported function's name is its index, in each engine.
    state: ({ hosts, functions }) => [contents(hosts, (value) => value), contents(functions, (value) => value?.name)],
  }))
