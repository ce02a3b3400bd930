'use strict'
// The life of an instance of a module that ./modules made: everything that is exported is called, read and changed, in an
// order and with values that the seed alone chooses. What happens is written down, in words that are the same for equal
// values of different engines.
//
// Nothing that the specification leaves open gets in: no NaN goes into a module, and memories and tables grow within bounds
// that are small enough.

const { crc32 } = require('node:zlib')
const random = require('../children/random.js')

/** Of a call and what it calls (see FUEL in modules/src/generate.rs). */
const FUEL = 200

/** How often each function is called, and how often where there are many. */
const ROUNDS = 3
const ROUNDS_OF_MANY = 2
const MANY = 100

/** How deep a function that was imported calls back. */
const LEVELS = 2

const INTEGERS = [0n, 1n, -1n, 7n, 64n, 255n, 0x7fff_ffffn, -0x8000_0000n, 0x7fff_ffff_ffff_ffffn, -0x8000_0000_0000_0000n]
const FLOATS = [0, -0, 1, -1.5, 0.1, 1e10, -3e38, 1e300, 5e-324, 2147483648, -9223372036854775808, Infinity, -Infinity]

const KINDS = ['function', 'table', 'memory', 'global', 'tag']

/** What JavaScript has no values of. */
const OPAQUE = ['v128', 'exnref']

const jsType = (type) => (type === 'funcref' ? 'anyfunc' : type)

const scratch = new DataView(new ArrayBuffer(8))

class Life {
  #W
  #module
  #random
  #description
  #transcript = []
  #things = Object.fromEntries(KINDS.map((kind) => [kind, []]))
  #names = new Map()
  #hosts = [null, undefined, 'text', 7.5, { an: 'object' }, Symbol('symbol')]
  #thrown = new Map()
  #level = 0
  #exhausted = false
  /** How much of what can happen did. */
  counts = { instances: 0, returns: 0, traps: 0, exceptions: 0, imports: 0 }

  constructor(W, module, seed) {
    this.#W = W
    this.#module = module
    this.#random = random(seed)
    const [section] = W.Module.customSections(module, 'description')
    this.#description = JSON.parse(Buffer.from(section).toString())
  }

  /** Yields between what it does, and returns the transcript. */
  *steps() {
    const env = {}
    for (const [index, given] of this.#description.imports.entries()) {
      const value = this.#made(given, index)
      env[given.name] = value
      if (given.kind !== 'function') this.#things[given.kind].push({ ...given, value })
    }
    this.#write('new Instance', () => {
      const { exports } = new this.#W.Instance(this.#module, { env })
      this.#born(exports)
    })
    yield
    const functions = this.#things.function
    const rounds = functions.length < MANY ? ROUNDS : ROUNDS_OF_MANY
    for (let round = 0; round < rounds; round++) {
      for (const one of functions) {
        if (this.fuel !== undefined) this.fuel.value = FUEL
        this.#call(one)
        yield
      }
      this.#change()
      this.#look()
      yield
    }
    if (this.#exhausted) throw new Error('a stack was exhausted, which the specification leaves open')
    return this.#transcript
  }

  /** An import. */
  #made({ kind, type, mutable, initial, maximum, shared, params, results }, index) {
    const limits = { initial, maximum: maximum ?? undefined }
    switch (kind) {
      case 'function':
        return this.#host(results, index)
      case 'table':
        return new this.#W.Table({ element: jsType(type), ...limits })
      case 'memory':
        return new this.#W.Memory({ ...limits, shared })
      case 'global':
        return new this.#W.Global({ value: jsType(type), mutable }, this.#value(type))
      case 'tag':
        return new this.#W.Tag({ parameters: params.map(jsType) })
      default:
        throw new Error(`a ${kind} cannot be imported`)
    }
  }

  #born(exports) {
    this.counts.instances++
    for (const kind of KINDS) this.#things[kind] = []
    for (const one of this.#description.exports) {
      const value = exports[one.name]
      if (one.name === 'fuel') this.fuel = value
      else this.#things[one.kind].push({ ...one, value })
    }
    for (const { name, value } of this.#things.function) this.#names.set(value, name)
  }

  /** A function to be imported, which notes that it was called, and does something of what functions of JavaScript can do. */
  #host(results, index) {
    return (...args) => {
      this.counts.imports++
      this.#transcript.push(`  import ${index} (${args.map((arg) => this.#shown(arg)).join(', ')})`)
      switch (this.#random(16)) {
        case 0:
          throw this.#error(new Error(`import ${index}`))
        case 1:
          this.#throwTag()
          break
        case 2:
        case 3:
          this.#callBack()
          break
        case 4:
          for (const { name, value } of this.#things.memory) this.#write(`  grow ${name}`, () => value.grow(1))
          break
        case 5:
          this.#change()
      }
      const values = results.map((type) => this.#value(type))
      return values.length > 1 ? values : values[0]
    }
  }

  #error(error) {
    this.#thrown.set(error, `error ${this.#thrown.size}`)
    return error
  }

  #throwTag() {
    // With one of the others ours makes an Exception, and the built-in a TypeError.
    const tags = this.#things.tag.filter(({ params }) => !params.some((type) => OPAQUE.includes(type)))
    if (tags.length === 0) return
    const { value, params } = tags[this.#random(tags.length)]
    const payload = params.map((type) => this.#value(type))
    throw this.#error(new this.#W.Exception(value, payload))
  }

  #callBack() {
    const functions = this.#things.function
    if (this.#level === LEVELS || functions.length === 0) return
    this.#level++
    try {
      const error = this.#call(functions[this.#random(functions.length)])
      if (error !== undefined && this.#random(2) === 0) throw error.value
    } finally {
      this.#level--
    }
  }

  #call({ name, value, params }) {
    const args = params.map((type) => this.#value(type))
    return this.#write(`${name} (${args.map((arg) => this.#shown(arg)).join(', ')})`, () => value(...args))
  }

  /** Does something, and writes down what came of it. What was thrown is returned as a `value`. */
  #write(what, act) {
    this.#transcript.push(what)
    try {
      const result = act()
      this.counts.returns++
      this.#transcript.push(`  = ${this.#shown(result)}`)
    } catch (value) {
      this.#transcript.push(`  threw ${this.#caught(value)}`)
      return { value }
    }
  }

  #caught(error) {
    const { Exception, RuntimeError } = this.#W
    if (error instanceof RangeError && /stack/.test(error.message)) this.#exhausted = true
    if (error instanceof RuntimeError) this.counts.traps++
    const known = this.#thrown.get(error)
    if (Exception === undefined || !(error instanceof Exception)) return known ?? error.constructor.name
    this.counts.exceptions++
    const tags = this.#things.tag.filter(({ value }) => error.is(value))
    const payload = tags.map(({ name, value, params }) => {
      const values = params.map((_, index) => this.#tried(() => error.getArg(value, index)))
      return `${name} (${values.join(', ')})`
    })
    return `${known ?? 'an Exception'} ${payload.join(', ')}`
  }

  #tried(read) {
    try {
      return this.#shown(read())
    } catch (error) {
      return error.constructor.name
    }
  }

  #shown(value) {
    if (Array.isArray(value)) return `[${value.map((one) => this.#shown(one)).join(', ')}]`
    if (typeof value === 'bigint') return `${value}n`
    if (typeof value === 'function') return this.#names.get(value) ?? `function ${value.name}`
    const host = this.#hosts.indexOf(value)
    if (host >= 0) return `host ${host}`
    if (typeof value !== 'number') throw new Error(`${typeof value} from nowhere`)
    return Object.is(value, -0) ? '-0' : String(value)
  }

  #look() {
    for (const { name, value } of this.#things.global) this.#transcript.push(`${name}: ${this.#tried(() => value.value)}`)
    for (const { name, value } of this.#things.table) {
      const elements = Array.from({ length: value.length }, (_, at) => this.#tried(() => value.get(at)))
      this.#transcript.push(`${name}: ${elements.join(', ')}`)
    }
    for (const { name, value } of this.#things.memory) {
      const bytes = new Uint8Array(value.buffer)
      this.#transcript.push(`${name}: ${bytes.length} bytes, ${crc32(bytes).toString(16)}`)
    }
  }

  /** Changes a bit of everything that JavaScript can change. */
  #change() {
    for (const { name, value, type, mutable } of this.#things.global) {
      if (mutable) this.#write(`${name} =`, () => void (value.value = this.#value(type)))
    }
    for (const { name, value, type } of this.#things.table) {
      if (value.length === 0) continue
      const at = this.#random(value.length)
      this.#write(`${name}[${at}] =`, () => value.set(at, this.#value(type)))
    }
    for (const { value } of this.#things.memory) {
      const bytes = new Uint8Array(value.buffer)
      if (bytes.length > 0) bytes[this.#random(bytes.length)] = this.#random(256)
    }
  }

  #value(type) {
    switch (type) {
      case 'i32':
        return Number(BigInt.asIntN(32, this.#integer()))
      case 'i64':
        return this.#integer()
      case 'f32':
        return Math.fround(this.#float())
      case 'f64':
        return this.#float()
      case 'externref':
        return this.#hosts[this.#random(this.#hosts.length)]
      case 'funcref': {
        const functions = this.#things.function
        return functions.length === 0 || this.#random(3) === 0 ? null : functions[this.#random(functions.length)].value
      }
      default:
        if (!OPAQUE.includes(type)) throw new Error(`there is no type ${type}`)
        return undefined
    }
  }

  #bits() {
    scratch.setUint32(0, this.#random(2 ** 32))
    scratch.setUint32(4, this.#random(2 ** 32))
    return scratch
  }

  #integer() {
    if (this.#random(2) === 0) return INTEGERS[this.#random(INTEGERS.length)]
    return this.#random(2) === 0 ? BigInt(this.#random(1000)) : this.#bits().getBigInt64(0)
  }

  #float() {
    if (this.#random(2) === 0) return FLOATS[this.#random(FLOATS.length)]
    const value = this.#random(2) === 0 ? this.#random(1000) / 8 : this.#bits().getFloat64(0)
    return Number.isNaN(value) ? 0 : value
  }
}

/** The rest of a life, at once: its transcript. */
function finish(steps) {
  for (;;) {
    const { done, value } = steps.next()
    if (done) return value
  }
}

module.exports = { Life, finish }
